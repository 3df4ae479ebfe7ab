"""Archives as they lie around: compressed or not, broken here and there."""

import gzip
import io
import json

import apache_beam as beam
import pytest

from kochava_segment.beam import ReadFromSegmentArchive, Selection
from kochava_segment.beam import archive as module
from kochava_segment.beam.archive import ArchiveUnreadable, read_file
from kochava_segment.entries import Entry
from tests.beam.pipelines import run
from tests.messages import ios


def lines(*messages):
    return "".join(json.dumps(message) + "\n" for message in messages).encode()


def test_plain_and_compressed_files_are_told_apart_by_content(tmp_path, kochava_emulator):
    (tmp_path / "a.jsonl").write_bytes(lines(ios(messageId="a")))
    (tmp_path / "b.gz").write_bytes(gzip.compress(lines(ios(messageId="b"))))
    (tmp_path / "c.log").write_bytes(gzip.compress(lines(ios(messageId="c"))))
    (tmp_path / "d.gz").write_bytes(lines(ios(messageId="d")))
    (tmp_path / "e.json").write_text(json.dumps([ios(messageId="e"), ios(messageId="f")], indent=2))
    ran = run(ReadFromSegmentArchive(str(tmp_path / "?.*")), tmp_path, kochava_emulator)
    assert {result["messageId"] for result in ran.of("accepted")} == set("abcdef")


def test_broken_lines_are_put_out_with_their_place(tmp_path, kochava_emulator):
    path = tmp_path / "in.gz"
    whole = gzip.compress(lines(ios(messageId="1")) + b"{broken\n" + lines(ios(messageId="3")))
    cut = gzip.compress(lines(*(ios(messageId=str(n) * 50) for n in range(200))))[:-300]
    path.write_bytes(whole)
    (tmp_path / "cut.gz").write_bytes(cut)
    ran = run(ReadFromSegmentArchive(str(tmp_path / "*.gz")), tmp_path, kochava_emulator)
    broken, short = sorted(ran.of("invalid"), key=lambda one: one["file"], reverse=True)
    assert (broken["file"], broken["line"], broken["message"]) == (str(path), 2, "{broken")
    assert "not valid JSON" in broken["reason"]
    assert short["line"] > 100
    assert "breaks off" in short["reason"]
    assert {"1", "3"} < {result["messageId"] for result in ran.of("accepted")}


def test_a_file_that_two_patterns_match_is_read_once(tmp_path, kochava_emulator):
    (tmp_path / "in.jsonl").write_bytes(lines(ios(messageId=None)))
    patterns = (str(tmp_path / "in.jsonl"), str(tmp_path / "*.jsonl"))
    ran = run(ReadFromSegmentArchive(*patterns), tmp_path, kochava_emulator)
    assert ran.counts == {"accepted": 1}


def test_a_pattern_without_files_fails_unless_allowed(tmp_path, kochava_emulator):
    pattern = str(tmp_path / "*.nothing")
    with pytest.raises(Exception, match="Empty match"):
        run(ReadFromSegmentArchive(pattern), tmp_path, kochava_emulator)
    allowed = ReadFromSegmentArchive(pattern, allow_empty=True)
    assert run(allowed, tmp_path, kochava_emulator).counts == {}


@pytest.mark.parametrize("patterns", [(), ("",), ("a", " ")])
def test_patterns_are_needed(patterns):
    with pytest.raises(ValueError, match="at least one path or glob"):
        ReadFromSegmentArchive(*patterns)


class _Failing(io.BytesIO):
    def peek(self, _size):
        return self.getvalue()[:2]

    def readline(self, size=-1):
        line = super().readline(size)
        if not line:
            raise OSError("the connection to the storage is gone")
        return line


def test_storage_that_fails_is_no_end_of_the_file(monkeypatch):
    stream = _Failing(lines(ios()))
    monkeypatch.setattr(module.FileSystems, "open", lambda *_, **__: stream)
    read = read_file("s3://bucket/file")
    assert next(read).message["messageId"] == "m-1"
    with pytest.raises(ArchiveUnreadable, match="s3://bucket/file cannot be read"):
        next(read)


def entry(**changes):
    return Entry(line=1, file="f", message=ios(**changes))


@pytest.mark.parametrize(
    ("selection", "included"),
    [
        (Selection(), True),
        (Selection(since=1774030016), True),
        (Selection(since=1774030017), False),
        (Selection(until=1774030016), False),
        (Selection(until=1774030017), True),
        (Selection(events=[" level  UP "]), True),
        (Selection(events=["Level Down"]), False),
        (Selection(users=["u-42"]), True),
        (Selection(users=["u-4"]), False),
        (Selection(events=["Level Up"], users=["u-4"]), False),
    ],
)
def test_a_selection_is_by_time_event_and_user(selection, included):
    assert selection.includes(entry()) is included


def test_a_message_without_a_time_is_in_no_span():
    assert not Selection(since=0).includes(entry(timestamp=None))
    assert Selection(since=0).includes(entry(timestamp=None, receivedAt="2026-01-01"))


def test_what_cannot_be_read_is_always_selected():
    selection = Selection(since=10**10, events=["x"], users=["y"])
    assert selection.includes(Entry(line=1, file="f", message="text"))


def test_ours_are_transforms_of_beam():
    assert isinstance(ReadFromSegmentArchive("x"), beam.PTransform)


def test_half_a_surrogate_pair_stops_no_run(tmp_path, kochava_emulator):
    half = "\ud800"
    messages = [
        ios(messageId="odd-property", properties={"note": half}),
        ios(messageId=half),
        ios(messageId="odd-device", context__device__id=half),
        ios(messageId="odd-event", event=half),
        half,
    ]
    (tmp_path / "in.jsonl").write_bytes(lines(*messages))
    ran = run(ReadFromSegmentArchive(str(tmp_path / "in.jsonl")), tmp_path, kochava_emulator)
    assert ran.counts.total() == 5
    assert [one["messageId"] for one in ran.of("accepted")] == ["odd-property"]
    assert {result["line"]: result["message"] for result in ran.of("invalid")}[2] == {
        **ios(),
        "messageId": r"\ud800",
    }


def test_messages_nested_too_deeply_stop_no_run(tmp_path, kochava_emulator):
    deep = [json.loads('{"in":' * depth + "1" + "}" * depth) for depth in (100, 600)]
    wide = {"list": [[number] for number in range(600)]}
    messages = [ios(messageId=str(n), other=one) for n, one in enumerate([*deep, wide])]
    (tmp_path / "in.jsonl").write_bytes(lines(*messages))
    ran = run(ReadFromSegmentArchive(str(tmp_path / "in.jsonl")), tmp_path, kochava_emulator)
    assert {result["messageId"] for result in ran.of("accepted")} == {"0", "2"}
    (invalid,) = ran.of("invalid")
    assert invalid["line"] == 2
    assert "nested too deeply" in invalid["reason"]
    assert json.loads(invalid["message"]) == messages[1]
