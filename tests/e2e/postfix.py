"""A Postfix of the tests' own: it receives on loopback for example.com, and relays nothing anywhere."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.servers import free_port, wait_until

if TYPE_CHECKING:
    from email.message import EmailMessage

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.com
mydestination =
mynetworks =
alias_maps =
alias_database =
smtpd_relay_restrictions = reject_unauth_destination
local_transport = error:nobody lives here
default_transport = error:this server relays nothing
relay_transport = error:this server relays nothing
virtual_mailbox_domains = example.com
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:inbox/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup     unix  n - n 60  1 pickup
cleanup    unix  n - n -   0 cleanup
qmgr       unix  n - n 300 1 qmgr
rewrite    unix  - - n -   - trivial-rewrite
bounce     unix  - - n -   0 bounce
defer      unix  - - n -   0 bounce
trace      unix  - - n -   0 bounce
proxymap   unix  - - n -   - proxymap
error      unix  - - n -   - error
retry      unix  - - n -   - error
virtual    unix  - n n -   - virtual
anvil      unix  - - n -   1 anvil
postlog    unix-dgram n - n - 1 postlogd
"""


def why_not() -> str | None:
    """Return why there can be no Postfix here, or None where there can."""
    if shutil.which("postfix") is None:
        return "no Postfix on this machine: apt-get install postfix"
    if os.geteuid() != 0:
        return "Postfix can be started by root alone"
    return None


class Postfix:
    """Starts on a free port, and keeps its configuration, queue and mail in a temporary folder that goes with it."""

    def __init__(self, main: str = MAIN, master: str = MASTER) -> None:
        self._main, self._master = main, master
        self.port = free_port()
        # Its daemons run under other accounts, which cannot enter the folders that pytest makes.
        self._folder = Path(tempfile.mkdtemp(prefix="flasky-postfix-"))
        self.inbox = self._folder / "mail" / "inbox" / "new"

    def __enter__(self) -> Self:
        folder, nobody, postfix = self._folder, pwd.getpwnam("nobody"), pwd.getpwnam("postfix")
        folder.chmod(0o755)
        for name, account in (("etc", None), ("queue", None), ("data", postfix), ("mail", nobody)):
            (folder / name).mkdir(mode=0o755)
            if account:
                os.chown(folder / name, account.pw_uid, account.pw_gid)
        (folder / "etc" / "main.cf").write_text(self._main.format(folder=folder, uid=nobody.pw_uid, gid=nobody.pw_gid))
        (folder / "etc" / "master.cf").write_text(self._master.format(port=self.port))
        self._command("start")
        return self

    def __exit__(self, *_: object) -> None:
        self._command("stop")
        shutil.rmtree(self._folder)

    def _command(self, word: str) -> None:
        done = subprocess.run(
            ["postfix", "-c", self._folder / "etc", word], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def log(self) -> str:
        return (self._folder / "mail.log").read_text()

    def wait_for(self, count: int) -> list[EmailMessage]:
        """Return the messages that have arrived, oldest first, once there are *count*."""
        wait_until(lambda: self.inbox.is_dir() and len(list(self.inbox.iterdir())) >= count, 15, f"the arrival of {count} messages")
        paths = sorted(self.inbox.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return [message_from_bytes(path.read_bytes(), policy=policy.default) for path in paths]
