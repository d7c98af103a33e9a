"""Debian's own servers, each installed with its defaults into a copy of this machine that nothing else sees.

The copy is an overlay over ``/`` in namespaces of its own: the packages' scripts run as on any Debian, conflicts with what is
installed here do not matter, and everything goes with its first process.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.e2e import postfix
from tests.strangers.stranger import CACHE, KeepsFiles, Missing, Stranger

ENTER = """
set -e
mount -t tmpfs tmpfs machine
mkdir machine/upper machine/work machine/root
mount -t overlay overlay -o lowerdir=/,upperdir=machine/upper,workdir=machine/work machine/root
mkdir -p machine/root/stranger machine/root/packages
mount --rbind /dev machine/root/dev
mount -t proc proc machine/root/proc
mount --bind . machine/root/stranger
mount --bind "$CACHE" machine/root/packages
hostname mail.example.com
exec chroot machine/root /bin/sh /stranger/install
"""
INSTALL = """
set -e
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
apt-get install -y --no-install-recommends -o Dir::Cache::archives=/packages -o APT::Keep-Downloaded-Packages=true \\
    -o Debug::NoLocking=true PACKAGES
# No name is looked up outside.
echo 'nameserver 127.0.0.1' > /etc/resolv.conf
echo 'hosts: files' > /etc/nsswitch.conf.new
grep -v '^hosts:' /etc/nsswitch.conf >> /etc/nsswitch.conf.new
mv /etc/nsswitch.conf.new /etc/nsswitch.conf
echo '127.0.0.1 localhost mail.example.com mail example.com xn--exmple-cua.com' > /etc/hosts
useradd --create-home susan
rm -rf /var/mail
ln -s /stranger/mail /var/mail
"""


class Debian(Stranger):
    """A server from Debian's *packages*; *serve* is the end of the script that configures it and runs it in the foreground."""

    packages = ""
    serve = ""

    def start(self) -> None:
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise Missing("needs root on a Debian")
        (self.folder / "mail").mkdir()
        shutil.chown(self.folder / "mail", "root", "mail")
        (self.folder / "mail").chmod(0o2775)
        (self.folder / "machine").mkdir()
        (self.folder / "enter").write_text(ENTER)
        script = INSTALL.replace("PACKAGES", self.packages) + self.serve.replace("PORT", str(self.port))
        (self.folder / "install").write_text(script)
        cache = CACHE / "packages"
        (cache / "partial").mkdir(parents=True, exist_ok=True)
        command = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "enter"]
        self.run("server", *command, env=os.environ | {"CACHE": str(cache)})


class Exim(Debian):
    """Exim as Debian configures it for a local site."""

    name = "Exim"
    packages = "exim4-daemon-light"
    # It accepts what a local client sends to anybody, and bounces it.
    refuses = False
    # From the eleventh on it only queues.
    per_connection = 10
    serve = """
sed -i "s/^dc_other_hostnames=.*/dc_other_hostnames='example.com:xn--exmple-cua.com'/" /etc/exim4/update-exim4.conf.conf
update-exim4.conf
exec exim4 -bdf -q30m -oX '[127.0.0.1]:PORT'
"""


class OpenSmtpd(KeepsFiles, Debian):
    """OpenSMTPD with Debian's smtpd.conf, which delivers into a Maildir."""

    name = "OpenSMTPD"
    packages = "opensmtpd"
    inbox = "mail/new"
    # It accepts a hundred.
    per_connection = 100
    serve = """
chown susan /stranger/mail
ln -s /stranger/mail /home/susan/Maildir
sed -i 's/^listen on localhost.*/listen on 127.0.0.1 port PORT/' /etc/smtpd.conf
sed -i 's/^match for local action/match for domain { "example.com", "xn--exmple-cua.com" } action/' /etc/smtpd.conf
exec smtpd -d
"""


class Sendmail(Debian):
    """Sendmail as Debian's sendmailconfig sets it up; it cannot ask DNS for the sender's domain."""

    name = "Sendmail"
    packages = "sendmail-bin sensible-mda"
    refuses = False
    recodes = True
    # Under load it leaves emails in its queue, until the next run in ten minutes.
    patience = 1500.0
    serve = """
printf 'example.com\\nxn--exmple-cua.com\\n' >> /etc/mail/local-host-names
sed -i "/^MAILER_DEFINITIONS/i FEATURE(\\`accept_unresolvable_domains')dnl" /etc/mail/sendmail.mc
sed -i 's/Port=smtp, Addr=127.0.0.1/Port=PORT, Addr=127.0.0.1/' /etc/mail/sendmail.mc
printf 'hosts files\\naliases files\\n' > /etc/mail/service.switch
echo "define(\\`confSERVICE_SWITCH_FILE', \\`/etc/mail/service.switch')dnl" > /tmp/start
sed -i '/^DOMAIN(/r /tmp/start' /etc/mail/sendmail.mc
printf 'y\\ny\\nn\\n' | sendmailconfig || true
exec sendmail -bD -q10m
"""


class Postgrey(Debian):
    """Postgrey, which Postfix asks about each recipient; it defers the first try of each pair of sender and recipient."""

    name = "Postgrey"
    packages = "postgrey"
    serve = "exec postgrey --inet=127.0.0.1:PORT --delay=3 --user=postgrey --group=postgrey\n"

    def _greets(self) -> bool:
        if self.processes[0].popen.poll() is not None:
            raise Missing(f"Postgrey has ended: {self.processes[0].output[-500:]}")
        return self.port in _listening()


def _listening() -> set[int]:
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


class OwnPostfix(KeepsFiles):
    """The Postfix of this machine; *main* and *master* are added to its configuration."""

    name = "Postfix"
    main = "virtual_mailbox_domains = example.com xn--exmple-cua.com\n"
    recipients = "check_recipient_access inline:{{{{noone@example.com=550 5.1.1 no such user}}}}"
    smtpd = "127.0.0.1:{port} inet n - n - - smtpd\n"

    def start(self) -> None:
        reason = postfix.why_not()
        if reason:
            raise Missing(reason)
        main = postfix.MAIN + self.main + f"smtpd_recipient_restrictions = {self.recipients}\n"
        master = postfix.MASTER.replace("127.0.0.1:{port} inet n - n - - smtpd\n", self.smtpd)
        self._postfix = postfix.Postfix(main, master)
        self._postfix.__enter__()
        self.port = self._postfix.port

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_postfix"):
            self._postfix.__exit__()
        super().__exit__()

    def files(self) -> list[Path]:
        return list(self._postfix.inbox.iterdir()) if self._postfix.inbox.is_dir() else []


class Postscreen(OwnPostfix):
    """Postfix behind postscreen: it greets in two parts, six seconds apart, and defers a new client after its tests."""

    name = "Postfix with postscreen"
    main = OwnPostfix.main + "postscreen_greet_action = enforce\npostscreen_pipelining_enable = yes\n"
    smtpd = (
        "127.0.0.1:{port} inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\ndnsblog unix - - n - 0 dnsblog\n"
        "tlsproxy unix - - n - 0 tlsproxy\n"
    )


class Greylisting(OwnPostfix):
    """Postfix that asks Postgrey."""

    name = "Postfix with greylisting"

    def start(self) -> None:
        self._postgrey = Postgrey()
        self._postgrey.__enter__()
        self.recipients = f"{OwnPostfix.recipients} check_policy_service inet:127.0.0.1:{self._postgrey.port}"
        super().start()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if hasattr(self, "_postgrey"):
            self._postgrey.__exit__()
