"""The servers from npm: Haraka and smtp-server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.strangers.stranger import CACHE, KeepsFiles, Missing

KEEP = """
const fs = require('node:fs')
exports.hook_queue = (next, connection) => {
    const file = fs.createWriteStream(`FOLDER/${connection.transaction.uuid}`)
    file.once('close', () => next(OK))
    connection.transaction.message_stream.pipe(file)
}
exports.hook_rcpt = (next, connection, params) => {
    next(params[0].user === "noone" ? DENY : undefined, '5.1.1 no such user')
}
"""
RECEIVE = """
const { SMTPServer } = require('smtp-server'), fs = require('node:fs')
let count = 0
new SMTPServer({
    authOptional: true,
    onRcptTo(address, session, done) {
        const unknown = Object.assign(new Error('5.1.1 no such user'), { responseCode: 550 })
        done(address.address.startsWith('noone@') ? unknown : null)
    },
    onData(stream, session, done) {
        const file = fs.createWriteStream(`FOLDER/${count++}`)
        file.once('close', () => done(null, 'kept'))
        stream.pipe(file)
    },
}).listen(PORT, '127.0.0.1')
"""


def package(name: str) -> Path:
    """Return the folder of an npm package, which is fetched if necessary; raise Missing if it cannot be had."""
    if not shutil.which("npm"):
        raise Missing("no npm on this machine")
    folder = CACHE / "node"
    if not (folder / "node_modules" / name).is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(folder), "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise Missing(f"npm install {name} fails: {done.stderr[-300:]}")
    return folder / "node_modules" / name


class Haraka(KeepsFiles):
    """Haraka with the settings that ``haraka -i`` writes, but without the check of the sender's domain, which asks DNS."""

    name = "Haraka"

    def start(self) -> None:
        program, house = package("Haraka") / "bin" / "haraka", self.folder / "house"
        subprocess.run(["node", program, "-i", house], capture_output=True, timeout=60, check=True)
        (self.folder / "mail").mkdir()
        (house / "plugins").mkdir(exist_ok=True)
        (house / "plugins" / "keep.js").write_text(KEEP.replace("FOLDER", str(self.folder / "mail")))
        for file, text in {
            "plugins": "keep\nrcpt_to.in_host_list\n",
            "host_list": "example.com\nxn--exmple-cua.com\n",
            "smtp.ini": f"[main]\nlisten=127.0.0.1:{self.port}\nnodes=0\n",
        }.items():
            (house / "config" / file).write_text(text)
        self.run("haraka", "node", program, "-c", house)


class NodeSmtpServer(KeepsFiles):
    """smtp-server, on which Nodemailer's tools are built, with its defaults."""

    name = "smtp-server"

    def start(self) -> None:
        package("smtp-server")
        (self.folder / "mail").mkdir()
        (self.folder / "receive.js").write_text(
            RECEIVE.replace("FOLDER", str(self.folder / "mail")).replace("PORT", str(self.port))
        )
        self.run("server", "node", self.folder / "receive.js", env=os.environ | {"NODE_PATH": str(CACHE / "node" / "node_modules")})
