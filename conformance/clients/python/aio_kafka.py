# SPDX-License-Identifier: Apache-2.0
"""The program of aiokafka: aio_kafka.py HOST:PORT"""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from scenarios import run_all

ADDR = sys.argv[1]
POLL = 200  # ms

loop = asyncio.new_event_loop()
wait = loop.run_until_complete


def code_of(e):
    """The Kafka error code of an exception, or the name of the client's own."""
    errno = getattr(e, "errno", None)
    return errno if isinstance(errno, int) and errno >= 0 else type(e).__name__


async def opened(cls, **config):
    thing = cls(bootstrap_servers=ADDR, **config)
    await thing.start()
    return thing


async def inside(call, *args):
    """Calls what must be called while the loop runs."""
    return call(*args)


class Sender:
    def __init__(self, config):
        self.p = wait(opened(AIOKafkaProducer, **config))
        self.futures = []

    def send(self, topic, key, value, headers=(), partition=0, time=None):
        try:
            self.futures.append(wait(self.p.send(topic, value, key, partition, time, list(headers))))
        except KafkaError as e:
            self.futures.append(e)

    def finish(self):
        results = wait(self.results())
        wait(self.p.stop())
        return results

    async def results(self):
        all = []
        for f in self.futures:
            try:
                if isinstance(f, Exception):
                    raise f
                await f
                all.append(0)
            except KafkaError as e:
                all.append(code_of(e))
        return all


class Receiver:
    def __init__(self, config):
        config |= {"auto_offset_reset": "earliest", "enable_auto_commit": False, "heartbeat_interval_ms": 500}
        self.c = wait(opened(AIOKafkaConsumer, **config))

    def subscribe(self, topic):
        wait(inside(self.c.subscribe, [topic]))

    def assign(self, topic, partitions):
        wait(inside(self.c.assign, [TopicPartition(topic, p) for p in partitions]))

    def owned(self):
        return sorted(tp.partition for tp in self.c.assignment())

    def poll(self):
        read = wait(self.c.getmany(timeout_ms=POLL))
        return [(r.partition, r.offset, r.timestamp, r.key, r.value, r.headers) for all in read.values() for r in all]

    def commit(self):
        wait(self.c.commit())

    def commit_at(self, topic, partition, offset, metadata):
        wait(self.c.commit({TopicPartition(topic, partition): OffsetAndMetadata(offset, metadata)}))

    def committed(self, topic, partition):
        at = wait(self.c.committed(TopicPartition(topic, partition)))
        return [-1 if at is None else at, None]  # it has no access to the metadata

    def seek(self, topic, partition, offset):
        wait(inside(self.c.seek, TopicPartition(topic, partition), offset))

    def pause(self, topic, partition):
        wait(inside(self.c.pause, TopicPartition(topic, partition)))

    def resume(self, topic, partition):
        wait(inside(self.c.resume, TopicPartition(topic, partition)))

    def at_time(self, topic, partition, ms):
        tp = TopicPartition(topic, partition)
        found = wait(self.c.offsets_for_times({tp: ms}))[tp]
        return found.offset if found else None

    def ends(self, topic, partition):
        tp = TopicPartition(topic, partition)
        return [wait(self.c.beginning_offsets([tp]))[tp], wait(self.c.end_offsets([tp]))[tp]]

    def close(self):
        wait(self.c.stop())


class AioKafka:
    name = "aiokafka"
    null_headers = True
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    protocols = ["eager"]
    static = ["eager"]

    def __init__(self):
        self.admin = wait(opened(AIOKafkaAdminClient))

    def create(self, topic, partitions, configs=None, replicas=1, validate=False):
        new = NewTopic(topic, partitions, replicas, topic_configs=configs or {})
        return wait(self.admin.create_topics([new], validate_only=validate)).topic_errors[0][1]

    def grow(self, topic, partitions):
        try:
            return wait(self.admin.create_partitions({topic: NewPartitions(partitions)})).topic_errors[0][1]
        except KafkaError as e:
            return code_of(e)

    def delete(self, topic):
        return wait(self.admin.delete_topics([topic])).topic_error_codes[0][1]

    def alter(self, topic, configs):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs)
        return wait(self.admin.alter_configs([resource]))[0].resources[0][0]

    def partitions(self, topic):
        return len(wait(self.admin.describe_topics([topic]))[0]["partitions"])

    def configs(self, topic, names):
        found = wait(self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))[0].resources[0][4]
        values = {entry[0]: entry[1] for entry in found}
        return {name: values[name] for name in names}

    def describe(self, group):
        _, _, state, _, protocol, members = wait(self.admin.describe_consumer_groups([group]))[0].groups[0][:6]
        return ["classic", state, protocol, len(members)]

    def delete_group(self, group):
        raise NotImplementedError

    def delete_records(self, topic, partition, offset):
        tp = TopicPartition(topic, partition)
        try:
            return [wait(self.admin.delete_records({tp: RecordsToDelete(offset)}))[tp], 0]
        except KafkaError as e:
            return [-1, code_of(e)]

    def producer(self, codec="none", idempotent=False, limit=None):
        config = {"compression_type": None if codec == "none" else codec, "enable_idempotence": idempotent, "linger_ms": 5}
        if limit:
            config |= {"max_request_size": max(limit, 1000), "max_batch_size": limit}
        return Sender(config)

    def consumer(self, group=None, instance=None, protocol=None, limit=None):
        config = {"group_id": group, "partition_assignment_strategy": [RangePartitionAssignor]}
        if limit:
            config |= {"fetch_max_bytes": limit, "max_partition_fetch_bytes": limit}
        if instance:
            config["group_instance_id"] = instance
        return Receiver(config)


if __name__ == "__main__":
    program = AioKafka()
    run_all(program)
    wait(program.admin.close())
