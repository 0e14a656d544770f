# SPDX-License-Identifier: Apache-2.0
"""The scenarios, over what each client library is wrapped in.

A wrapper has the attributes name, protocols (of groups that it can do), static
(the same, with instance ids), codecs and null_headers (it can send them), and these methods, of which those of
administration that a library lacks raise NotImplementedError. Codes are Kafka's
error codes, 0 for none.

    create(topic, partitions, configs={}, replicas=1, validate=False) -> code
    grow(topic, partitions), delete(topic), alter(topic, configs) -> code
    partitions(topic) -> number; configs(topic, names) -> {name: value}
    describe(group) -> list; delete_group(group) -> code
    delete_records(topic, partition, offset) -> [low watermark, code]
    producer(codec="none", idempotent=False, limit=None) -> a producer:
        send(topic, key, value, headers=[], partition=0, time=None)
        finish() -> the code of each record, in order
    consumer(group=None, instance=None, protocol=None, limit=None) -> a consumer:
        subscribe(topic), assign(topic, partitions), owned() -> partitions
        poll() -> [(partition, offset, time, key, value, headers)]
        commit(), commit_at(topic, partition, offset, metadata)
        committed(topic, partition) -> [offset, metadata]; seek, pause, resume(topic, partition)
        at_time(topic, partition, ms) -> offset or None; ends(topic, partition) -> [low, high]
        close()
"""

import time

from outcome import (
    BASE, CODEC_COUNT, CODECS, GROUP_EACH, GROUP_PARTS, IDEMPOTENT, LARGEST, RECORDS,
    codec_value, firsts, got, group_value, group_values, record, scenario, text, topic, until,
)

KEEP = {"retention.ms": "-1"}


def run_all(client):
    for codec in CODECS:
        if codec in client.codecs:
            scenario("codec " + codec, lambda name, codec=codec: Run(client, name).codec(codec))
    for name, method in [
        ("records", Run.records), ("large", Run.large), ("times", Run.times), ("idempotent", Run.idempotent),
        ("commits", Run.commits), ("admin topics", Run.admin_topics), ("admin configs", Run.admin_configs),
        ("admin groups", Run.admin_groups), ("admin records", Run.admin_records),
    ]:
        scenario(name, lambda name, method=method: method(Run(client, name)))
    for protocol in client.protocols:
        scenario("group " + protocol, lambda name, p=protocol: Run(client, name).group(p))
    for protocol in client.static:
        scenario("static " + protocol, lambda name, p=protocol: Run(client, name).static(p))


class Run:
    """One scenario of a client."""

    def __init__(self, client, name):
        self.c = client
        self.name = name
        self.topic = topic(client.name, name)

    def got(self, step, value):
        got(self.name, step, value)

    def create(self, partitions=1):
        code = self.c.create(self.topic, partitions, KEEP)
        if code != 0:
            raise RuntimeError(f"create {self.topic}: {code}")
        until("the topic", lambda: self.c.partitions(self.topic) == partitions)

    def produce(self, records, check=True, **options):
        p = self.c.producer(**options)
        for r in records:
            p.send(self.topic, **r)
        codes = p.finish()
        if check and any(codes):
            raise RuntimeError(f"produce: {codes}")
        return codes

    def read(self, n, partitions=(0,), **options):
        consumer = self.c.consumer(**options)
        consumer.assign(self.topic, partitions)
        try:
            return self.poll(consumer, n)
        finally:
            consumer.close()

    def poll(self, consumer, n):
        all = []
        until(f"{n} records", lambda: len(all) >= n, lambda: all.extend(consumer.poll()))
        return all

    def codec(self, codec):
        self.create()
        self.produce([{"key": str(i).encode(), "value": codec_value(codec, i)} for i in range(CODEC_COUNT)], codec=codec)
        read = self.read(CODEC_COUNT)
        equal = [1 for i, r in enumerate(read) if r[3] == str(i).encode() and r[4] == codec_value(codec, i)]
        got("codec", codec + ", equal", len(equal))

    def records(self):
        self.create()
        kept = [h for h in RECORDS[4][2] if h[1] is not None or self.c.null_headers]
        self.produce([
            {"key": k, "value": v, "headers": h and kept, "time": BASE + i} for i, (k, v, h) in enumerate(RECORDS)
        ])
        for _, offset, ms, key, value, headers in self.read(len(RECORDS)):
            self.got(str(offset), record(offset, ms, key, value, headers))

    def large(self):
        self.create()
        for step, size in [("fits", LARGEST), ("one byte more", LARGEST + 1)]:
            self.got(step, self.produce([{"key": None, "value": bytes(size)}], check=False, limit=4 << 20)[0])
        self.got("read", len(self.read(1)[0][4]))
        self.got("read with small limits", len(self.read(1, limit=1000)[0][4]))

    def timed(self):
        self.create()
        self.produce([{"key": None, "value": str(i).encode(), "time": BASE + 1000 * i} for i in range(5)])

    def times(self):
        self.timed()
        consumer = self.c.consumer()
        consumer.assign(self.topic, [0])
        low, high = consumer.ends(self.topic, 0)
        self.got("earliest", low)
        self.got("latest", high)
        for step, ms in [("of a record", 2000), ("between", 2500), ("after all", 9000)]:
            at = consumer.at_time(self.topic, 0, BASE + ms)
            self.got(step, high if at is None else at)
        consumer.seek(self.topic, 0, consumer.at_time(self.topic, 0, BASE + 2500))
        self.got("consumed from between", self.poll(consumer, 1)[0][1])
        consumer.close()

    def idempotent(self):
        self.create()
        self.produce([{"key": None, "value": str(i).encode()} for i in range(IDEMPOTENT)], idempotent=True, limit=1000)
        read = self.read(IDEMPOTENT)
        self.got("in order", [r[4] for r in read] == [str(i).encode() for i in range(IDEMPOTENT)])
        consumer = self.c.consumer()
        self.got("end", consumer.ends(self.topic, 0)[1])
        consumer.close()

    def fill(self, partitions):
        self.create(partitions)
        self.produce([
            {"key": None, "value": group_value(p, i), "partition": p} for p in range(partitions) for i in range(GROUP_EACH)
        ])

    def commits(self):
        self.fill(2)
        consumer = self.c.consumer(group=self.topic)
        consumer.assign(self.topic, [0, 1])
        consumer.commit_at(self.topic, 0, 4, "note")
        for p in range(2):
            self.got(f"committed of {p}", consumer.committed(self.topic, p))
        consumer.close()
        consumer = self.c.consumer(group=self.topic)
        consumer.subscribe(self.topic)
        firsts_of = lambda n: firsts((r[0], r[4]) for r in self.poll(consumer, n))
        self.got("first of each after the commit", firsts_of(2 * GROUP_EACH - 4))
        consumer.seek(self.topic, 0, 7)
        self.got("first after seek", firsts_of(GROUP_EACH - 7))
        consumer.pause(self.topic, 0)
        consumer.seek(self.topic, 0, 0)
        consumer.seek(self.topic, 1, 0)
        self.got("first while 0 is paused", firsts_of(GROUP_EACH))
        consumer.resume(self.topic, 0)
        self.got("first after resume", firsts_of(GROUP_EACH))
        consumer.close()

    def describe(self, step, state="Stable"):
        """Notes what is said of the group, once it has a state, if it gets there soon."""
        end = time.monotonic() + 10
        while (now := self.c.describe(self.topic))[1] != state and time.monotonic() < end:
            time.sleep(0.05)
        self.got(step, now)

    def group(self, protocol):
        """One member joins and reads, a second joins, the first leaves."""
        self.fill(GROUP_PARTS)
        one = self.c.consumer(group=self.topic, protocol=protocol)
        one.subscribe(self.topic)
        read = self.poll(one, GROUP_PARTS * GROUP_EACH)
        self.got("read by one", sorted(text(r[4]) for r in read) == [text(v) for v in group_values()])
        one.commit()
        two = self.c.consumer(group=self.topic, protocol=protocol)
        two.subscribe(self.topic)
        both, half = [], GROUP_PARTS // 2
        step = lambda: both.extend(one.poll() + two.poll())
        until("two members to share", lambda: len(one.owned()) == half and len(two.owned()) == half, step)
        self.got("shared by two", [len(one.owned()), len(two.owned())])
        self.got("partitions of both", sorted(one.owned() + two.owned()))
        self.describe("described with two")
        one.close()
        until("one member to have all", lambda: len(two.owned()) == GROUP_PARTS, step=lambda: both.extend(two.poll()))
        self.got("after one has left", [len(two.owned())])
        self.got("read again", len(both))
        two.close()
        self.committed()
        self.describe("described when both have left", "Empty")

    def committed(self):
        reader = self.c.consumer(group=self.topic)
        at = {str(p): reader.committed(self.topic, p)[0] for p in range(GROUP_PARTS)}
        reader.close()
        self.got("committed", {p: o for p, o in at.items() if o >= 0})

    def static(self, protocol):
        """A member with an instance id that comes back has what it had."""
        self.fill(GROUP_PARTS)
        half = GROUP_PARTS // 2

        def join(instance):
            m = self.c.consumer(group=self.topic, protocol=protocol, instance=instance)
            m.subscribe(self.topic)
            return m

        one, two = join("one"), join("two")
        step = lambda: (one.poll(), two.poll())
        until("two members to share", lambda: len(one.owned()) == half and len(two.owned()) == half, step)
        before = sorted(two.owned())
        two.close()
        one.poll()
        if protocol != "consumer":  # in which the group may be seen while it changes
            self.describe("one is away")
        two = join("two")
        until("the member that came back", lambda: len(two.owned()) == half, step)
        self.got("same partitions after it came back", sorted(two.owned()) == before)
        self.describe("it is back")
        one.close()
        two.close()

    def admin_topics(self):
        t, c = self.topic, self.c
        self.got("create", c.create(t, 3))
        self.got("create again", c.create(t, 3))
        self.got("create a wrong name", c.create("a wrong/name", 3))
        self.got("create without partitions", c.create(t + "-0", 0))
        self.got("create with too many replicas", c.create(t + "-r", 1, replicas=2))
        self.got("create with an unknown config", c.create(t + "-c", 1, {"no.such.config": "1"}))
        self.got("create with a wrong config", c.create(t + "-c", 1, {"retention.ms": "long"}))
        try:
            self.got("create, only validated", c.create(t + "-v", 1, validate=True))
        except NotImplementedError:
            pass
        for step, name, n in [
            ("more partitions", t, 5), ("fewer partitions", t, 2), ("as many partitions", t, 5),
            ("partitions of an unknown topic", t + "-u", 5),
        ]:
            self.got(step, c.grow(name, n))
        until("the partitions", lambda: c.partitions(t) == 5)
        self.got("described", c.partitions(t))
        self.got("delete", c.delete(t))
        self.got("delete again", c.delete(t))

    def admin_configs(self):
        self.create()
        t, c = self.topic, self.c
        try:
            self.got("set", c.alter(t, {"segment.bytes": "2097152"}))
            self.got("unknown name", c.alter(t, {"no.such.config": "1"}))
            self.got("wrong value", c.alter(t, {"segment.bytes": "many"}))
            self.got("unknown topic", c.alter(t + "-u", {"segment.bytes": "2097152"}))
        except NotImplementedError:
            return
        names = ["segment.bytes", "max.message.bytes", "compression.type", "cleanup.policy"]
        until("the change", lambda: c.configs(t, names)["segment.bytes"] == "2097152")
        for name, value in c.configs(t, names).items():
            self.got(name + ", value", value)

    def admin_groups(self):
        self.fill(GROUP_PARTS)
        member = self.c.consumer(group=self.topic)
        member.subscribe(self.topic)
        until("the member", lambda: len(member.owned()) == GROUP_PARTS, member.poll)
        try:
            self.got("delete with a member", self.c.delete_group(self.topic))
            member.commit_at(self.topic, 0, 3, "")
        except NotImplementedError:
            return
        finally:
            member.close()
        self.committed()
        self.got("delete", self.c.delete_group(self.topic))
        self.got("delete again", self.c.delete_group(self.topic))

    def admin_records(self):
        self.timed()
        try:
            for step, at in [("delete up to 3", 3), ("delete up to 1", 1), ("delete past the end", 9), ("delete all", -1)]:
                self.got(step, self.c.delete_records(self.topic, 0, at))
        except NotImplementedError:
            return
        consumer = self.c.consumer()
        self.got("earliest", consumer.ends(self.topic, 0)[0])
        consumer.close()
