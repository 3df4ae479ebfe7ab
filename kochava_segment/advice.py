"""What each warning, reason, outcome, error and state means, and what to do: the words of the docs and `why`.

The codes themselves stand where they are given. `python docs/generate.py` stops if one has no words
here, or if words here are about none.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Kind = Literal["warning", "reason", "outcome", "error", "function error", "answer", "state"]


@frozen
class Advice:
    """What to know of a code.

    Attributes:
        code: The code, the name of the class, or the HTTP status.
        kind: What it is a code of.
        cause: What happened, in Markdown without links.
        remedy: What to do, likewise.
    """

    code: str
    kind: Kind
    cause: str
    remedy: str

    @property
    def page(self) -> str:
        """Which page of the docs speaks of it."""
        return "outbox.md" if self.kind == "state" else "errors.md"

    @property
    def anchor(self) -> str:
        """Where that page speaks of it."""
        # Outcomes, states and errors have names in common: Rejected gives `rejected`.
        prefix = f"{self.kind}-" if self.kind in ("outcome", "answer", "state") else ""
        return prefix + self.code.lower().replace(" ", "-")


ADVICE = (
    Advice(
        "att-unknown",
        "warning",
        "An IDFA is sent, but nothing says whether tracking was authorised. Kochava is told "
        "`att: false` and drops the IDFA.",
        "Let the app send `context.device.trackingStatus` or `adTrackingEnabled`, or set "
        "`integrations.Kochava.att`.",
    ),
    Advice(
        "bad-currency",
        "warning",
        "`properties.currency` is no code of three letters and was left out. Kochava may take the "
        "price for another currency.",
        "Send an ISO 4217 code, such as EUR.",
    ),
    Advice(
        "bad-ip",
        "warning",
        "`context.ip` or `request_ip` is no IP address and was left out.",
        "A list of addresses or a host name is none: take the client's address out of it.",
    ),
    Advice(
        "bad-number",
        "warning",
        "A price, quantity or rating is no number. It was left as it was; a product's quantity was "
        "counted as 1.",
        "Send numbers, or strings that are numbers: `19.95`, not `€ 19,95`.",
    ),
    Advice(
        "bad-text",
        "warning",
        "A text has half of a surrogate pair, usually an emoji that was cut in two. U+FFFD stands in "
        "its place.",
        "Cut texts by characters.",
    ),
    Advice(
        "bad-timestamp",
        "warning",
        "A time cannot be read. The next source was tried: `timestamp`, `originalTimestamp`, `sentAt`, "
        "`receivedAt`.",
        "Send ISO 8601.",
    ),
    Advice(
        "bad-trait",
        "warning",
        "A trait that is to be sent as an identity is a list or an object. It was left out.",
        "Send one value, or take it off `identity_traits`.",
    ),
    Advice(
        "many-keys",
        "warning",
        "`event_data` has more than 16 keys. All are sent; Kochava may not show all of them.",
        "Thin them out with `allow_properties` or `deny_properties`.",
    ),
    Advice(
        "no-device-id",
        "warning",
        "No device id was found, so Kochava has the `kochava_device_id` alone and will hardly "
        "attribute the event.",
        "From a server, pass `context.device` on from the app. `require_device_id` refuses such "
        "messages.",
    ),
    Advice(
        "no-device-version",
        "warning",
        "There is neither a user agent nor the whole of `device.model`, `os.name` and `os.version`, "
        "so Kochava cannot tell the kind of device.",
        "Pass `context.userAgent` or these three on.",
    ),
    Advice(
        "no-ip",
        "warning",
        "`context.ip` is missing. Kochava's article requires the device's address, and server "
        "libraries do not add it.",
        "Pass on the address of the client, not that of your server.",
    ),
    Advice(
        "no-platform",
        "warning",
        "There is an advertising id, but nothing says whether it is an IDFA or an ADID, so it was "
        "left out.",
        "Send `context.os.name` or `context.device.type`.",
    ),
    Advice(
        "no-timestamp",
        "warning",
        "The message has no time that can be read. Kochava takes the time of arrival, which a queue "
        "makes later.",
        "Send `timestamp`, ISO 8601.",
    ),
    Advice(
        "not-finite",
        "warning",
        "A number is NaN, infinite or larger than any double, and was left out.",
        "Look for a division by zero where it is made.",
    ),
    Advice(
        "pii-property",
        "warning",
        "A property looks like personal data, by its name or since its value is an e-mail address, "
        "and was left out: Kochava asks not to be sent such data.",
        "If it has to go, name it in `allow_properties`; else stop sending it, or name it in "
        "`deny_properties`.",
    ),
    Advice(
        "pii-trait",
        "warning",
        "A trait that is to be sent as an identity looks like personal data and was left out.",
        "Add it to `hash_traits` to send its hash.",
    ),
    Advice(
        "pii-user-id",
        "warning",
        "`userId` is an e-mail address and was left out.",
        "Use an opaque id.",
    ),
    Advice(
        "platform-inferred",
        "warning",
        "The platform was read from the user agent, as the message names neither `context.os.name` "
        "nor `context.device.type`.",
        "Send one of these: user agents of iPads claim to be Macs.",
    ),
    Advice(
        "reserved-key",
        "warning",
        "Kochava reserves the name of a property. It was sent as `segment_NAME`, or left out where "
        "that name is taken.",
        "Rename the property, or name it in `deny_properties`.",
    ),
    Advice(
        "untrusted-advertising-id",
        "warning",
        "The advertising id is empty, all zeros, a copy of `device.id`, or stands beside a tracking "
        "status that does not allow it. It was left out.",
        "Nothing, if the user did not agree. Otherwise mend the app that sends it.",
    ),
    Advice(
        "FILTERED_BY_INTEGRATIONS_OBJECT",
        "reason",
        "Whoever sent it excluded Kochava.",
        "Look at `integrations`: `All: false` excludes Kochava unless it is named.",
    ),
    Advice(
        "FILTERED_BY_END_USER_CONSENT",
        "reason",
        "The user did not agree to a category in `required_consent`.",
        "Nothing, if that is so. A category that is missing counts as refused: see that the app sends "
        "them all.",
    ),
    Advice(
        "LOOP",
        "reason",
        "The attribution came from Kochava; sending it back would count it twice.",
        "Nothing.",
    ),
    Advice(
        "SCREENS_OFF",
        "reason",
        "Screens and pages are not sent.",
        "Set the option `screens` to `view` or `named` to send them as events.",
    ),
    Advice(
        "NOTHING_TO_LINK",
        "reason",
        "An identify has no `userId` that may be sent, and none of its traits are to be.",
        "Give a `userId`, or list the traits in `identity_traits`.",
    ),
    Advice(
        "accepted",
        "outcome",
        "Kochava took the request. That does not prove that it counted it.",
        "Nothing. With `receipt.maybe_repeated`, an earlier attempt may have been counted as well.",
    ),
    Advice(
        "queued",
        "outcome",
        "The outbox has it on disk; its relay delivers it.",
        "Watch the outbox.",
    ),
    Advice(
        "duplicate",
        "outcome",
        "The outbox already had a message of this `messageId`; it is not sent again.",
        "Nothing. If they are many, ids are made badly.",
    ),
    Advice("filtered", "outcome", "It is not meant for Kochava: `EventFiltered`.", "Nothing."),
    Advice(
        "invalid",
        "outcome",
        "It is malformed, `InvalidEventPayload`; or there is no App GUID for it, "
        "`ConfigurationError`.",
        "Mend whatever makes the message, or the configuration; send it again.",
    ),
    Advice(
        "unsupported", "outcome", "Kochava has nothing like it: `EventNotSupported`.", "Nothing."
    ),
    Advice(
        "rejected",
        "outcome",
        "Kochava refused it: `Rejected` or `CredentialsRejected`.",
        "Mend the cause, send it again.",
    ),
    Advice(
        "exhausted",
        "outcome",
        "It did not get through, and was certainly not counted: `RetriesExhausted`.",
        "Send it again.",
    ),
    Advice("ambiguous", "outcome", "It may have been counted: `AmbiguousDelivery`.", "Decide."),
    Advice(
        "ConfigurationError",
        "error",
        "An option is wrong, or no option gives an App GUID for a message. `problems` lists all that "
        "is wrong, each under its option's name.",
        "Mend the configuration; `kochava-segment doctor` checks it.",
    ),
    Advice(
        "InvalidEventPayload",
        "error",
        "The message is malformed. `problems` lists every path at once.",
        "It will not get better by itself: mend whatever makes the message, then send it again.",
    ),
    Advice(
        "EventNotSupported",
        "error",
        "Kochava has nothing that a message of this type (group, alias, delete) could become.",
        "Count it and forget it. A `delete` forgets its user where there is an outbox: `forget`.",
    ),
    Advice(
        "EventFiltered",
        "error",
        "The message is not meant for Kochava; `reason` says why. It is no failure.",
        "Count it, do not retry it. If you did not expect it, look up its reason.",
    ),
    Advice(
        "Rejected",
        "error",
        "Kochava refused the request for good: a 4xx status, a redirect, or 200 with `success` other "
        "than 1.",
        "Sending it again will not help. Compare what `kochava-segment explain` shows with Kochava's "
        "articles, and check the App GUID.",
    ),
    Advice(
        "CredentialsRejected",
        "error",
        "Kochava answered 401 or 403. After five in a row the app's requests fail for 30 s without "
        "being sent, so that a wrong key does not hammer Kochava.",
        "Check `api_key` and `api_secret`, and whether the app has install authentication enabled.",
    ),
    Advice(
        "RetriesExhausted",
        "error",
        "It did not get through, and no attempt can have been counted: Kochava was not reached, or "
        "answered that it could not take it.",
        "Send it again later: that is safe.",
    ),
    Advice(
        "AmbiguousDelivery",
        "error",
        "At least one attempt may have been counted: the connection broke, or the answer took too "
        "long, after the request had left. Kochava has no idempotency key, so sending it again may "
        "count it twice. The option `retry` (`maybe_sent`) says whether the library itself does.",
        "Installs and IdentityLinks can be sent again without harm. For revenue, decide what is worse "
        "for you: a purchase lost, or a purchase twice.",
    ),
    Advice(
        "OutboxFull",
        "error",
        "The outbox has reached its size. The request was not stored and is still the caller's.",
        "See whether its relay runs and Kochava is reached; raise `max_size` if the outage is known.",
    ),
    Advice(
        "OutboxUnavailable",
        "error",
        "The outbox cannot be written at present: the disk is full, the file read-only, or locked for "
        "too long. The request was not stored and is still the caller's.",
        "Mend the disk, then hand the request over again.",
    ),
    Advice(
        "OutboxUnusable",
        "error",
        "The file is damaged, was written by a newer version, or is no outbox. It was not changed.",
        "Restore it, or start another one and keep the old file until you know what is in it. "
        "`kochava-segment outbox export --salvage` saves what can be read.",
    ),
    Advice(
        "ValidationError",
        "function error",
        "Segment discards the event: the settings are wrong, there is no App GUID for it, or Kochava "
        "refused it for good. `__cause__` is the library's own error.",
        "Look that error up.",
    ),
    Advice(
        "RetryError",
        "function error",
        "The event was not delivered, or perhaps not; Segment sends it again for four hours.",
        "Nothing, unless they are many: see whether Kochava is reached. `__cause__` says what happened.",
    ),
    Advice(
        "DropEvent",
        "function error",
        "The event is not meant for Kochava. It is no failure.",
        "Look up the reason that its text begins with.",
    ),
    Advice(
        "400",
        "answer",
        "The body breaks off, is no JSON, is not compressed as its header says, has a key twice, or "
        "holds a malformed message; `problems` lists the paths.",
        "Mend whatever makes the message. Segment gives it up.",
    ),
    Advice(
        "401",
        "answer",
        "The signature or the bearer token is missing or wrong; an array needs the bearer token.",
        "Set the same shared secret, or the header `Authorization`, in Segment's destination and here.",
    ),
    Advice(
        "403",
        "answer",
        "A web page sent it, and no secret is set.",
        "Set `--webhook-secret` or `--bearer-token`.",
    ),
    Advice(
        "404",
        "answer",
        "There is nothing at this path. A postback with a wrong secret is answered so too.",
        "Compare the URL, its secret and `--postback-secret`.",
    ),
    Advice(
        "405", "answer", "The method is not taken here.", "Send a POST; a postback may be a GET."
    ),
    Advice(
        "408",
        "answer",
        "The body did not come within 10 s.",
        "Nothing: Segment tries again. If they are many, look at the network before the receiver.",
    ),
    Advice(
        "413",
        "answer",
        "The body is larger than 4 MB, or the array longer than 4,000 messages.",
        "Make batches smaller in Segment's destination.",
    ),
    Advice(
        "415",
        "answer",
        "The body is not `application/json`, or compressed with something else than gzip.",
        "Mend the header `Content-Type` or `Content-Encoding` of whoever sends it.",
    ),
    Advice(
        "500",
        "answer",
        "Something broke that nobody expected. The log says where, without content.",
        "Report it with that line of the log. Segment tries again.",
    ),
    Advice("501", "answer", "Kochava has nothing like this type of message.", "Nothing."),
    Advice(
        "503",
        "answer",
        "The outbox is full, locked, broken or too slow; `Retry-After` says when to come back.",
        "Nothing at first: Segment tries again. Then look up OutboxFull and OutboxUnavailable.",
    ),
    Advice(
        "waiting",
        "state",
        "It is to be sent: its turn has not come, or it is tried again later.",
        "Nothing while a relay runs. `outbox retry` has it tried at once.",
    ),
    Advice(
        "in flight",
        "state",
        "A relay has leased it, and sends it.",
        "Nothing. If that relay dies, another takes it back once `lease` is over.",
    ),
    Advice(
        "paused",
        "state",
        "It waits, since Kochava refuses the credentials of its app.",
        "Mend `api_key` and `api_secret`, then restart the relay. If they are right: `outbox retry --state "
        "paused`.",
    ),
    Advice(
        "delivered",
        "state",
        "It was accepted. It is kept without its body for `dedup_window`, so that it is not sent again.",
        "Nothing.",
    ),
    Advice(
        "rejected",
        "state",
        "Kochava refused it.",
        "`outbox list` has the reason. Mend the cause, then `outbox retry`, or `outbox discard`.",
    ),
    Advice(
        "exhausted",
        "state",
        "All attempts failed, and none can have been counted.",
        "`outbox retry`, which is safe, once Kochava is reached.",
    ),
    Advice(
        "ambiguous",
        "state",
        "It may have been counted, and was not to be sent again.",
        "Decide: after `outbox retry` it may be counted twice, after `outbox discard` not at all.",
    ),
    Advice(
        "discarded",
        "state",
        "It was given up by hand, or because its user was forgotten.",
        "Nothing. It stays counted; its body is gone.",
    ),
)
