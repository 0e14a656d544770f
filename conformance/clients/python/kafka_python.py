# SPDX-License-Identifier: Apache-2.0
"""The program of kafka-python: kafka_python.py HOST:PORT"""

import sys

from kafka import errors, KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError

from scenarios import run_all

ADDR = sys.argv[1]
POLL = 200  # ms


def code_of(e):
    """The Kafka error code of an exception, or the name of the client's own."""
    errno = getattr(e, "errno", None)
    return errno if isinstance(errno, int) and errno >= 0 else type(e).__name__


def number(result):
    """The code in what a result of many says of one: "OK", "[Error 40] Name" or "Name"."""
    name = (result or "OK").split(":")[0].split()[-1]
    return 0 if name == "OK" else getattr(errors, name).errno


def code(call, *args, **options):
    try:
        call(*args, **options)
        return 0
    except KafkaError as e:
        return code_of(e)


class Sender:
    def __init__(self, config):
        self.p = KafkaProducer(bootstrap_servers=ADDR, **config)
        self.futures = []

    def send(self, topic, key, value, headers=(), partition=0, time=None):
        self.futures.append(self.p.send(topic, value, key, list(headers), partition, time))

    def finish(self):
        self.p.flush(30)
        codes = [code(f.get, 30) for f in self.futures]
        self.p.close()
        return codes


class Receiver:
    def __init__(self, config):
        self.c = KafkaConsumer(
            bootstrap_servers=ADDR, auto_offset_reset="earliest", enable_auto_commit=False, heartbeat_interval_ms=500, **config
        )

    def subscribe(self, topic):
        self.c.subscribe([topic])

    def assign(self, topic, partitions):
        self.c.assign([TopicPartition(topic, p) for p in partitions])

    def owned(self):
        return sorted(tp.partition for tp in self.c.assignment())

    def poll(self):
        read = self.c.poll(POLL)
        return [(r.partition, r.offset, r.timestamp, r.key, r.value, r.headers) for all in read.values() for r in all]

    def commit(self):
        self.c.commit()

    def commit_at(self, topic, partition, offset, metadata):
        self.c.commit({TopicPartition(topic, partition): OffsetAndMetadata(offset, metadata, -1)})

    def committed(self, topic, partition):
        at = self.c.committed(TopicPartition(topic, partition), metadata=True)
        return [at.offset, at.metadata] if at else [-1, ""]

    def seek(self, topic, partition, offset):
        self.c.seek(TopicPartition(topic, partition), offset)

    def pause(self, topic, partition):
        self.c.pause(TopicPartition(topic, partition))

    def resume(self, topic, partition):
        self.c.resume(TopicPartition(topic, partition))

    def at_time(self, topic, partition, ms):
        tp = TopicPartition(topic, partition)
        found = self.c.offsets_for_times({tp: ms})[tp]
        return found.offset if found and found.offset >= 0 else None

    def ends(self, topic, partition):
        tp = TopicPartition(topic, partition)
        return [self.c.beginning_offsets([tp])[tp], self.c.end_offsets([tp])[tp]]

    def close(self):
        self.c.close()


class KafkaPython:
    name = "kafka-python"
    null_headers = False
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    protocols = ["eager", "cooperative"]
    static = ["eager"]

    def __init__(self):
        self.admin = KafkaAdminClient(bootstrap_servers=ADDR)

    def create(self, topic, partitions, configs=None, replicas=1, validate=False):
        new = {topic: {"num_partitions": partitions, "replication_factor": replicas, "configs": configs or {}}}
        return code(self.admin.create_topics, new, validate_only=validate)

    def grow(self, topic, partitions):
        return code(self.admin.create_partitions, {topic: partitions})

    def delete(self, topic):
        return code(self.admin.delete_topics, [topic])

    def alter(self, topic, configs):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs)
        try:
            result = self.admin.alter_configs([resource], raise_on_unknown=False)["topic"][topic]
        except KafkaError as e:
            return code_of(e)
        return number(result)

    def partitions(self, topic):
        return len(self.admin.describe_topics([topic])[0]["partitions"])

    def configs(self, topic, names):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = self.admin.describe_configs([resource], config_filter="all")["topic"][topic]
        return {name: found[name]["value"] for name in names}

    def describe(self, group):
        g = self.admin.describe_groups([group])[group]
        return ["classic", g["group_state"], g["protocol_data"], len(g["members"])]

    def delete_group(self, group):
        return number(self.admin.delete_groups([group])[group])

    def delete_records(self, topic, partition, offset):
        tp = TopicPartition(topic, partition)
        try:
            return [self.admin.delete_records({tp: offset})[tp]["low_watermark"], 0]
        except KafkaError as e:
            return [-1, code_of(e)]

    def producer(self, codec="none", idempotent=False, limit=None):
        config = {"compression_type": None if codec == "none" else codec, "enable_idempotence": idempotent, "linger_ms": 5}
        if limit:
            config |= {"max_request_size": max(limit, 1000), "batch_size": limit}
        return Sender(config)

    def consumer(self, group=None, instance=None, protocol=None, limit=None):
        config = {"group_id": group}
        if limit:
            config |= {"fetch_max_bytes": limit, "max_partition_fetch_bytes": limit}
        if group:
            cooperative = protocol == "cooperative"
            config["partition_assignment_strategy"] = [CooperativeStickyAssignor if cooperative else RangePartitionAssignor]
        if instance:
            config["group_instance_id"] = instance
        return Receiver(config)


if __name__ == "__main__":
    run_all(KafkaPython())
