# SPDX-License-Identifier: Apache-2.0
"""The program of confluent-kafka, which is librdkafka: confluent.py HOST:PORT"""

import sys
import time

from confluent_kafka import (
    OFFSET_INVALID, Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ResourceType,
)

from outcome import until
from scenarios import run_all

ADDR = sys.argv[1]
POLL = 0.2  # seconds


def code_of(e):
    """The Kafka error code of an exception or error, or the name of the client's own."""
    error = e if isinstance(e, KafkaError) else e.args[0]
    return error.code() if error.code() >= 0 else error.name()


def wait(futures):
    """The code of the only future."""
    try:
        next(iter(futures.values())).result()
        return 0
    except KafkaException as e:
        return code_of(e)


class Sender:
    def __init__(self, config):
        self.p = Producer(config)
        self.results = []

    def send(self, topic, key, value, headers=(), partition=0, time=None):
        at = len(self.results)
        self.results.append(None)

        def done(err, msg):
            self.results[at] = code_of(err) if err else 0

        extra = {} if time is None else {"timestamp": time}
        try:
            self.p.produce(topic, value, key, partition, on_delivery=done, headers=list(headers) or None, **extra)
        except KafkaException as e:
            self.results[at] = code_of(e)

    def finish(self):
        if self.p.flush(30):
            raise TimeoutError("records are left")
        return self.results


class Receiver:
    def __init__(self, config):
        self.c = Consumer(config)

    def subscribe(self, topic):
        self.topic = topic
        self.c.subscribe([topic])

    def assign(self, topic, partitions):
        self.topic = topic
        self.c.assign([TopicPartition(topic, p) for p in partitions])

    def owned(self):
        return sorted(tp.partition for tp in self.c.assignment())

    def poll(self):
        all = []
        for m in self.c.consume(100, POLL):
            if m.error():
                raise KafkaException(m.error())
            all.append((m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers()))
        return all

    def commit(self):
        self.c.commit(asynchronous=False)

    def commit_at(self, topic, partition, offset, metadata):
        self.c.commit(offsets=[TopicPartition(topic, partition, offset, metadata)], asynchronous=False)

    def committed(self, topic, partition):
        tp = self.c.committed([TopicPartition(topic, partition)], 30)[0]
        return [-1 if tp.offset == OFFSET_INVALID else tp.offset, tp.metadata or ""]

    def seek(self, topic, partition, offset):
        """An assigned partition that is not fetched yet, on a busy machine, is in no state to seek."""
        def sought():
            try:
                self.c.seek(TopicPartition(topic, partition, offset))
            except KafkaException as e:
                if e.args[0].code() != KafkaError._STATE:
                    raise
                return False
            return True

        until("the partition to be fetched", sought, step=lambda: time.sleep(0.02))

    def pause(self, topic, partition):
        self.c.pause([TopicPartition(topic, partition)])

    def resume(self, topic, partition):
        self.c.resume([TopicPartition(topic, partition)])

    def at_time(self, topic, partition, ms):
        tp = self.c.offsets_for_times([TopicPartition(topic, partition, ms)], 30)[0]
        return tp.offset if tp.offset >= 0 else None

    def ends(self, topic, partition):
        return list(self.c.get_watermark_offsets(TopicPartition(topic, partition), 30))

    def close(self):
        self.c.close()


class Confluent:
    name = "confluent-kafka"
    null_headers = True
    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    protocols = ["eager", "cooperative", "consumer"]
    static = ["eager", "consumer"]

    def __init__(self):
        self.admin = AdminClient({"bootstrap.servers": ADDR})

    def create(self, topic, partitions, configs=None, replicas=1, validate=False):
        new = NewTopic(topic, partitions, replicas, config=configs or {})
        return wait(self.admin.create_topics([new], validate_only=validate))

    def grow(self, topic, partitions):
        return wait(self.admin.create_partitions([NewPartitions(topic, partitions)]))

    def delete(self, topic):
        return wait(self.admin.delete_topics([topic]))

    def alter(self, topic, configs):
        entries = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in configs.items()]
        return wait(self.admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)]))

    def partitions(self, topic):
        return len(self.admin.list_topics(topic, 30).topics[topic].partitions)

    def configs(self, topic, names):
        found = next(iter(self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values())).result()
        return {name: found[name].value for name in names}

    def describe(self, group):
        g = self.admin.describe_consumer_groups([group])[group].result()
        return [g.type.name.lower(), g.state.name.title(), g.partition_assignor, len(g.members)]

    def delete_group(self, group):
        return wait(self.admin.delete_consumer_groups([group]))

    def delete_records(self, topic, partition, offset):
        try:
            f = self.admin.delete_records([TopicPartition(topic, partition, offset)])
            return [next(iter(f.values())).result().low_watermark, 0]
        except KafkaException as e:
            return [-1, code_of(e)]

    def producer(self, codec="none", idempotent=False, limit=None):
        config = {"bootstrap.servers": ADDR, "compression.type": codec, "enable.idempotence": idempotent, "linger.ms": 5}
        if limit:
            config |= {"message.max.bytes": max(limit, 1000), "batch.size": limit}
        return Sender(config)

    def consumer(self, group=None, instance=None, protocol=None, limit=None):
        config = {
            "bootstrap.servers": ADDR, "group.id": group or "none", "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
        if limit:
            config |= {"fetch.message.max.bytes": limit, "fetch.max.bytes": limit, "message.max.bytes": limit}
        if instance:
            config["group.instance.id"] = instance
        if protocol == "consumer":
            config["group.protocol"] = "consumer"
        else:
            config["heartbeat.interval.ms"] = 500
            config["partition.assignment.strategy"] = "cooperative-sticky" if protocol == "cooperative" else "range"
        return Receiver(config)


if __name__ == "__main__":
    run_all(Confluent())
