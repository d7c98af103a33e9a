"""The table of what servers say: whose matter is a negative reply? No other module knows a server's wording.

The first rule that fits decides, so what says most comes first: codes with one meaning, then words, then codes that say little.
The table in ``docs/delivery.md`` has the same rows, and ``tests/outbox/smtp/replies.tsv`` the replies that the rules are made for.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import NamedTuple


class Matter(Enum):
    """Whose matter a negative reply is."""

    RECIPIENT = "recipient"
    """This recipient's: no such mailbox, mailbox full or disabled."""
    SIZE = "size"
    """The message's: it is larger than the server takes."""
    CONTENT = "content"
    """The message's: spam, a virus, an attachment, its structure."""
    OURS = "ours"
    """Ours: login, sender, relaying, our IP address, our EHLO name, our account and its limits."""
    THROTTLED = "throttled"
    """The server takes mail, but not this fast."""
    CONNECTIONS = "connections"
    """The server takes mail, but not over so many connections."""
    SERVER = "server"
    """The server's: it takes no mail at the moment."""
    MOMENT = "moment"
    """The moment's: the same email may be accepted later."""
    UNCLEAR = "unclear"
    """A refusal that leaves open whether it means the recipient, the message or us."""


class Rule(NamedTuple):
    """Whose *matter* a reply is that fits all the other fields; an empty field fits every reply.

    *code*, *enhanced* and *stage* are regular expressions for the whole reply code, the whole enhanced status code (RFC 3463) and
    the whole stage. *words* are regular expressions, one of which has to match a part of the text, whatever its case.
    """

    matter: Matter
    code: str = "[45].."
    enhanced: str = ""
    stage: str = ""
    words: tuple[str, ...] = ()

    def fits(self, stage: str, code: int, enhanced: str, text: str) -> bool:
        """Return whether the rule is about this reply."""
        return bool(
            re.fullmatch(self.code, str(code))
            and (not self.enhanced or re.fullmatch(self.enhanced, enhanced))
            and (not self.stage or re.fullmatch(self.stage, stage))
            and (not self.words or any(re.search(words, text, re.IGNORECASE) for words in self.words))
        )


PERMANENT, TEMPORARY = "5..", "4.."

RULES = (
    # Codes with one meaning; the long ones are Exchange Online's and Gmail's.
    Rule(Matter.SIZE, PERMANENT, enhanced=r"5\.2\.3|5\.3\.4"),
    Rule(Matter.SIZE, "552", stage="MAIL"),
    Rule(Matter.CONTENT, enhanced=r"5\.6\.\d+|5\.7\.512"),
    # Before a recipient is named, a refusal can only mean us.
    Rule(Matter.OURS, PERMANENT, stage="EHLO|AUTH|MAIL"),
    # No such mailbox, mailbox disabled, too much mail for it, none from outside.
    Rule(Matter.RECIPIENT, enhanced=r"5\.1\.([1-6]|10)|5\.2\.(1|12[12])|5\.7\.(12|124|13\d?|50[45])"),
    # Our sender, our limit, SendAsDenied.
    Rule(Matter.OURS, enhanced=r"[45]\.1\.[78]|5\.1\.90|5\.2\.25\d"),
    # SPF, DKIM, DMARC, reverse DNS (RFC 7372, RFC 8616), TLS.
    Rule(Matter.OURS, enhanced=r"[45]\.7\.(2[3-79]|3[0-2])"),
    # Login, encryption (RFC 4954), our reputation, our tenant.
    Rule(Matter.OURS, enhanced=r"5\.7\.(3|8|14|28|57|60|64|[5-7]\d\d)"),
    Rule(Matter.THROTTLED, TEMPORARY, enhanced=r"4\.7\.(28|[56]\d\d)"),
    #
    # The recipient's troubles whose words look like ours.
    Rule(
        Matter.MOMENT,
        TEMPORARY,
        words=(r"gr[ae]y.?list", r"\b(recipient (?!limit)|user (is|you)\b).{0,60}(limit|too quickly|at a rate)"),
    ),
    #
    # A limit of our account, over by tomorrow.
    Rule(
        Matter.OURS,
        words=(
            r"\b(daily|hourly|monthly|per (hour|day)|24.?h)\b.{0,60}\b(limit|quota|maximum|exceeded|reached)",
            r"(max|limit|quota|exceeded|only \d+)\b.{0,60}\b(daily|hourly|per (hour|day))\b",
            r"(submission|sending) ?(quota|limit)|RefuseQuota|policy.{0,20}quota|credits? (exceeded|exhausted)",
        ),
    ),
    # The mailbox is full.
    Rule(
        Matter.RECIPIENT,
        PERMANENT,
        words=(
            r"\b(mailbox|inbox|user|recipient)\b.{0,40}\b(full|over.?quota|exceeded (its|their|his) (quota|storage))",
            r"\bstorage (limit|quota|space|allocation)|out of storage",
        ),
    ),
    Rule(Matter.RECIPIENT, enhanced=r"5\.2\.2"),
    # A limit of connections, or of the rate: over in a moment. 4.5.3 limits one connection, and a new one helps.
    Rule(Matter.MOMENT, TEMPORARY, enhanced=r"4\.5\.3"),
    Rule(
        Matter.CONNECTIONS,
        TEMPORARY,
        words=(
            r"too (many|frequent)\b.{0,30}\b(connections|connects|sessions)",
            r"(concurrent|simultaneous) connections|connection rate|sender thread limit",
        ),
    ),
    Rule(
        Matter.THROTTLED,
        TEMPORARY,
        words=(
            r"throttl|rate.?limit|\brate\b.{0,20}exceeded|unusual rate|relay limit|per (second|minute)",
            r"too (fast|quickly)|too (much|many) (mail|email|message)s?\b",
            r"\b(mail|message)s? (from|to)\b.{0,60}\bdeferred",
        ),
    ),
    #
    # Who we are: our EHLO name, our IP address, our domain, what we may relay.
    Rule(Matter.CONTENT, PERMANENT, words=(r"\b(URL|URI|link)s?\b.{0,60}\b(spam|list|block|black)",)),
    Rule(
        Matter.OURS,
        words=(
            r"\b(helo|ehlo)\b|your hostname|reverse dns|dns check|\brDNS\b|\bPTR\b",
            r"client host .{0,80}(reject|block|denied)",
            r"\b(your|sending|source|spam) IP\b|IP you.re using|\bIP\b.{0,40}\b(reject|block|bann|list|denied|not allowed)",
            r"blocked using|(block|black|deny).?list|(?<!not )\blist(ed|ing) (in|on|by)\b|spamhaus|dnsbl|\bRBL\b",
            r"\b(from|sender|sending) domain\b|mailfrom domain|\breputation|\b(SPF|DKIM|DMARC)\b",
            r"\brelay(ing)?\b.{0,15}\b(denied|not|disallowed|prohibited)|(unable to|cannot|open) relay",
        ),
    ),
    Rule(Matter.OURS, PERMANENT, stage="CONNECT", words=(r"\b(block|bann|denied)",)),
    # What one recipient does not want from us.
    Rule(Matter.RECIPIENT, PERMANENT, words=(r"\bto (this|the) (mailing |distribution )?(list|group|recipient|mailbox|user)\b",)),
    # What we may send: our sender, our login, our account.
    Rule(
        Matter.OURS,
        words=(
            r"sender\b.{0,60}\b(reject|refus|denied|not |unknown|invalid|verif|block|disabled)",
            r"not owned by|SendAsDenied|OutboundSpam",
            r"not (allowed|permitted|authori[sz]ed) to (send|perform)",
            r"\b(activate|verify) your\b|\byour account\b|sandbox (sub)?domain",
        ),
    ),
    Rule(
        Matter.OURS,
        PERMANENT,
        words=(
            r"\b(reject|refus|denied|invalid|unknown|block|verified)\w*\b.{0,20}\bsender\b",
            r"authenticat|log ?in\b|credentials|\brequires? (TLS|encryption)",
            r"not verified|(suspended|paused|disabled) for this account|sending denied",
            r"unusual\b.{0,20}\b(sending|amount|rate)",
        ),
    ),
    Rule(Matter.OURS, "530|534|535|538"),
    #
    # A permanent code that asks for another try contradicts itself: a limit that does not say so.
    Rule(Matter.OURS, PERMANENT, stage="(?!CONNECT).*", words=(r"\btry (again )?later",)),
    # How long the message is, what it says, who gets it; a limit that is none of these is ours.
    Rule(Matter.SIZE, PERMANENT, words=(r"\bsize\b|too (large|big)",)),
    Rule(
        Matter.CONTENT,
        PERMANENT,
        words=(
            r"\bspam|unsolicited|\bcontent|security (polic|issue|risk)",
            r"\bvirus|malware|phishing|attachment",
            r"malformed|\bRFC\b.{0,15}complian|\bfrom: (address|header)",
        ),
    ),
    Rule(
        Matter.RECIPIENT,
        PERMANENT,
        words=(
            r"(unknown|no such|invalid|archived).(user|recipient|mailbox|address)|recipient account",
            r"\b(user|recipient|mailbox|account|address)\b.{0,40}\b(unknown|invalid|not found|unavailable|disabled|inactive)",
            r"\b(user|recipient|mailbox|account|address)\b.{0,40}\b(does not|doesn.t) (have|exist)",
            r"no longer (valid|available)|not in\b.{0,20}\b(list|table)|unrouteable|recipient address rejected: need",
        ),
    ),
    Rule(
        Matter.OURS,
        PERMANENT,
        words=(
            r"\b(exceed|reach)(ed|ing)\b.{0,60}\b(limit|quota)|\b(limit|quota)\b.{0,20}\b(exceed|reach)",
            r"\blimited\b|too many (mail|email|message)s?\b|sent too many",
        ),
    ),
    #
    # Codes that say little, and the stage.
    Rule(Matter.RECIPIENT, enhanced=r"5\.[12]\.\d+"),
    Rule(Matter.RECIPIENT, enhanced=r"5\.4\.1", words=("recipient",)),
    Rule(Matter.SERVER, stage="CONNECT|EHLO|STARTTLS|AUTH"),
    Rule(Matter.SERVER, "421"),
    Rule(Matter.MOMENT, TEMPORARY),
)

# Not whose matter it is, but what helps at once: a new connection, or fewer commands at a time.
# "Too many messages on this connection", "max message per connection reached", "transaction limit for this session exceeded".
PER_CONNECTION = re.compile(
    r"\b(messages?|e?mails?|transactions?|recipients?)\b.{0,40}\b(this|per|one|a|each|single|same|smtp)\b.{0,12}\b(connection|session)\b",
    re.IGNORECASE,
)
# RFC 5321, 4.2.1: not recognized, not implemented, bad sequence.
OUT_OF_ORDER = {500, 502, 503}
EXIM, EXIM_LIMIT = re.compile(r"\bExim \d"), 10

# What a reply repeats of the email or of itself: anybody may have an address at relay.example, hosts have such names too, and
# every line of a long reply repeats its enhanced status code.
ADDRESS = re.compile(r"<[^>]*>|\S+@\S+")
HOST = re.compile(r"\b[a-z0-9-]+(\.[a-z0-9-]+)+\b")
ENHANCED = re.compile(r"(?:^|#)([245]\.\d{1,3}\.\d{1,3})\b")
REPEATED = re.compile(r"\s+#?[245]\.\d{1,3}\.\d{1,3}\s+")


@lru_cache(maxsize=64)  # one error is asked several questions
def matter_of(stage: str, code: int, reply: str) -> Matter:
    """Return whose matter a negative *reply* with this *code* is.

    *stage* is CONNECT, DOT, the verb of the command that the server answers, or "" if nobody knows it any more.
    """
    found = ENHANCED.search(reply)
    enhanced = found.group(1) if found else ""
    text = HOST.sub("", REPEATED.sub(" ", ADDRESS.sub("", reply)))
    fitting = (rule.matter for rule in RULES if rule.fits(stage, code, enhanced, text))
    return next(fitting, Matter.UNCLEAR)
