// SPDX-License-Identifier: Apache-2.0

// The program of kafkajs: program.js HOST:PORT. Its clients are looked for in
// the folder of NODE_PATH. It prints outcomes as clients/doc.go tells, with the
// values of shared_test.go.
'use strict'

const { Kafka, CompressionTypes, CompressionCodecs, PartitionAssigners, logLevel } = require('kafkajs')
const zstd = require('@bokuweb/zstd-wasm')
const Snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')

const BASE = 1_700_000_000_000 // ms since the Unix epoch
const GROUP_PARTS = 4
const GROUP_EACH = 10
const LARGEST = 1_048_588 - 72
const DEADLINE = 60_000 // ms that a step may take
const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD }

const kafka = new Kafka({ brokers: [process.argv[2]], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50 } })
const admin = kafka.admin()

const print = (outcome) => process.stdout.write(JSON.stringify(outcome) + '\n')
const got = (scenario, step, value) => print({ scenario, step, got: value })
const text = (b) => (b === null || b === undefined ? null : b.toString())
const groupValue = (p, i) => `p${p}-${String(i).padStart(2, '0')}`
const topicOf = (scenario) => 'kafkajs-' + scenario.replaceAll(' ', '-')

/** The Kafka error code of what a call has thrown, 0 if it has not. */
async function code(call) {
  try {
    await call()
    return 0
  } catch (e) {
    return codeOf(e)
  }
}

function codeOf(e) {
  const found = [e, e.cause ?? {}, ...(e.errors || []), ...(e.groups || [])].find((x) => Number.isInteger(x.code ?? x.errorCode))
  return found ? found.code ?? found.errorCode : `${e.name}: ${e.message}`
}

async function until(what, ok) {
  const end = Date.now() + DEADLINE
  while (!(await ok())) {
    if (Date.now() > end) throw new Error('waiting for ' + what)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function scenario(name, run) {
  const begin = Date.now()
  try {
    await run(name, topicOf(name))
  } catch (e) {
    process.stderr.write(e.stack + '\n')
    print({ scenario: name, failed: `${e.name}: ${e.message}` })
  }
  process.stderr.write(`${name} took ${Date.now() - begin} ms\n`)
}

const makeTopic = (topic, numPartitions, configs = {}, replicationFactor = 1, validateOnly = false) =>
  admin.createTopics({
    validateOnly,
    waitForLeaders: false,
    topics: [{ topic, numPartitions, replicationFactor, configEntries: Object.entries(configs).map(([name, value]) => ({ name, value })) }],
  })

/** The partitions of a topic, 0 while the broker does not know it. */
async function partitionsOf(topic) {
  try {
    return (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length
  } catch (e) {
    if (codeOf(e) === 3) return 0
    throw e
  }
}

async function create(topic, partitions = 1) {
  await makeTopic(topic, partitions, { 'retention.ms': '-1' })
  await until('the topic', async () => (await partitionsOf(topic)) === partitions)
}

async function produce(topic, messages, { codec = 'none', idempotent = false } = {}) {
  const producer = kafka.producer({ idempotent, maxInFlightRequests: idempotent ? 1 : undefined, allowAutoTopicCreation: false })
  await producer.connect()
  try {
    await producer.send({ topic, messages: messages.map((m) => ({ partition: 0, ...m })), compression: CODECS[codec], acks: -1 })
  } finally {
    await producer.disconnect()
  }
}

/** A consumer of a group, from the start where nothing is committed. */
async function join(group, topic, options = {}) {
  const consumer = kafka.consumer({
    groupId: group, heartbeatInterval: 500, allowAutoTopicCreation: false, maxWaitTimeInMs: 100,
    partitionAssigners: [PartitionAssigners.roundRobin], ...options,
  })
  const member = { consumer, records: [], owned: [], next: {} }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { member.owned = payload.memberAssignment[topic] ?? [] })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      member.records.push({ partition, ...message })
      member.next[partition] = Number(message.offset) + 1
    },
  })
  member.leave = () => consumer.disconnect()
  member.take = async (n) => {
    await until(`${n} records`, () => member.records.length >= n)
    return member.records.splice(0)
  }
  return member
}

async function read(topic, n, options) {
  const member = await join(topic + '-reader' + (options ? '-small' : ''), topic, options)
  const all = await member.take(n)
  await member.leave()
  return all
}

function firsts(records) {
  const all = {}
  for (const r of records) all[r.partition] ??= text(r.value)
  return all
}

async function codec(name, topic, kind) {
  await create(topic)
  const value = (i) => `${kind} ${i} ${'abc'.repeat(100)}`
  await produce(topic, Array.from({ length: 20 }, (_, i) => ({ key: String(i), value: value(i) })), { codec: kind })
  const back = await read(topic, 20)
  got('codec', kind + ', equal', back.filter((r, i) => text(r.key) === String(i) && text(r.value) === value(i)).length)
}

async function records(name, topic) {
  await create(topic)
  // kafkajs has no null headers
  await produce(topic, [
    { key: 'k', value: 'v' }, { key: null, value: 'no key' }, { key: 'no value', value: null }, { key: '', value: '' },
    { key: 'h', value: 'headers', headers: { a: ['1', '2'], empty: '' } },
  ].map((m, i) => ({ ...m, timestamp: String(BASE + i) })))
  for (const r of await read(topic, 5)) {
    const headers = Object.entries(r.headers).flatMap(([k, vs]) => [vs].flat().map((v) => [k, text(v)]))
    got(name, r.offset, { offset: Number(r.offset), time: Number(r.timestamp) - BASE, key: text(r.key), value: text(r.value), headers })
  }
}

async function large(name, topic) {
  await create(topic)
  for (const [step, size] of [['fits', LARGEST], ['one byte more', LARGEST + 1]]) {
    got(name, step, await code(() => produce(topic, [{ key: null, value: Buffer.alloc(size) }])))
  }
  got(name, 'read', (await read(topic, 1))[0].value.length)
  got(name, 'read with small limits', (await read(topic, 1, { maxBytes: 1000, maxBytesPerPartition: 1000 }))[0].value.length)
}

async function timed(topic) {
  await create(topic)
  await produce(topic, [0, 1, 2, 3, 4].map((i) => ({ key: null, value: String(i), timestamp: String(BASE + 1000 * i) })))
}

async function times(name, topic) {
  await timed(topic)
  const [ends] = await admin.fetchTopicOffsets(topic)
  got(name, 'earliest', Number(ends.low))
  got(name, 'latest', Number(ends.high))
  for (const [step, ms] of [['of a record', 2000], ['between', 2500], ['after all', 9000]]) {
    const [at] = await admin.fetchTopicOffsetsByTimestamp(topic, BASE + ms)
    got(name, step, Number(at.offset))
  }
}

async function idempotent(name, topic) {
  await create(topic)
  const values = Array.from({ length: 200 }, (_, i) => String(i))
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, allowAutoTopicCreation: false })
  await producer.connect()
  for (let i = 0; i < values.length; i += 10) {
    await producer.send({ topic, messages: values.slice(i, i + 10).map((value) => ({ key: null, value, partition: 0 })) })
  }
  await producer.disconnect()
  const back = await read(topic, values.length)
  got(name, 'in order', JSON.stringify(back.map((r) => text(r.value))) === JSON.stringify(values))
  got(name, 'end', Number((await admin.fetchTopicOffsets(topic))[0].high))
}

async function fill(topic, partitions) {
  await create(topic, partitions)
  const all = []
  for (let p = 0; p < partitions; p++) for (let i = 0; i < GROUP_EACH; i++) all.push({ key: null, value: groupValue(p, i), partition: p })
  // A partition that is not led yet has kafkajs send those again that took their records.
  await until('all partitions to be led', () => admin.fetchTopicOffsets(topic).then(() => true, () => false))
  await produce(topic, all)
  return all.map((m) => m.value)
}

async function committed(group, topic) {
  const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
  return Object.fromEntries(found.partitions.map((p) => [p.partition, p]))
}

async function commits(name, topic) {
  await fill(topic, 2)
  await admin.setOffsets({ groupId: topic, topic, partitions: [{ partition: 0, offset: '4' }] })
  const at = await committed(topic, topic)
  for (const p of [0, 1]) got(name, `committed of ${p}`, [Number(at[p].offset), at[p].metadata ?? ''])
  const member = await join(topic, topic)
  got(name, 'first of each after the commit', firsts(await member.take(2 * GROUP_EACH - 4)))
  member.consumer.seek({ topic, partition: 0, offset: '7' })
  got(name, 'first after seek', firsts(await member.take(GROUP_EACH - 7)))
  member.consumer.pause([{ topic, partitions: [0] }])
  member.consumer.seek({ topic, partition: 0, offset: '0' })
  member.consumer.seek({ topic, partition: 1, offset: '0' })
  got(name, 'first while 0 is paused', firsts(await member.take(GROUP_EACH)))
  member.consumer.resume([{ topic, partitions: [0] }])
  got(name, 'first after resume', firsts(await member.take(GROUP_EACH)))
  await member.leave()
}

/** Notes what is said of a group, once it has a state. */
async function describe(name, step, group, state) {
  let g
  await until(state, async () => {
    g = (await admin.describeGroups([group])).groups[0]
    return g.state === state
  })
  got(name, step, ['classic', g.state, g.protocol, g.members.length])
}

async function group(name, topic) {
  const all = await fill(topic, GROUP_PARTS)
  const half = GROUP_PARTS / 2
  const one = await join(topic, topic)
  const values = (await one.take(all.length)).map((r) => text(r.value)).sort()
  got(name, 'read by one', JSON.stringify(values) === JSON.stringify(all))
  await one.consumer.commitOffsets(Object.entries(one.next).map(([p, offset]) => ({ topic, partition: Number(p), offset: String(offset) })))
  const two = await join(topic, topic)
  await until('two members to share', () => one.owned.length === half && two.owned.length === half)
  got(name, 'shared by two', [one.owned.length, two.owned.length])
  got(name, 'partitions of both', [...one.owned, ...two.owned].sort())
  await describe(name, 'described with two', topic, 'Stable')
  await one.leave()
  await until('one member to have all', () => two.owned.length === GROUP_PARTS)
  got(name, 'after one has left', [two.owned.length])
  got(name, 'read again', two.records.length)
  await two.leave()
  got(name, 'committed', Object.fromEntries(Object.entries(await committed(topic, topic)).map(([p, c]) => [p, Number(c.offset)])))
  await describe(name, 'described when both have left', topic, 'Empty')
}

async function adminTopics(name, topic) {
  const step = async (what, call) => got(name, what, await code(call))
  const grow = (t, count) => admin.createPartitions({ topicPartitions: [{ topic: t, count }] })
  await step('create', () => makeTopic(topic, 3))
  // of a topic that is there kafkajs says false
  got(name, 'create again, created', await makeTopic(topic, 3))
  await step('create a wrong name', () => makeTopic('a wrong/name', 3))
  await step('create without partitions', () => makeTopic(topic + '-0', 0))
  await step('create with too many replicas', () => makeTopic(topic + '-r', 1, {}, 2))
  await step('create with an unknown config', () => makeTopic(topic + '-c', 1, { 'no.such.config': '1' }))
  await step('create with a wrong config', () => makeTopic(topic + '-c', 1, { 'retention.ms': 'long' }))
  await step('create, only validated', () => makeTopic(topic + '-v', 1, {}, 1, true))
  await step('more partitions', () => grow(topic, 5))
  await step('fewer partitions', () => grow(topic, 2))
  await step('as many partitions', () => grow(topic, 5))
  await step('partitions of an unknown topic', () => grow(topic + '-u', 5))
  await until('the partitions', async () => (await partitionsOf(topic)) === 5)
  got(name, 'described', await partitionsOf(topic))
  await step('delete', () => admin.deleteTopics({ topics: [topic] }))
  await step('delete again', () => admin.deleteTopics({ topics: [topic] }))
}

async function adminConfigs(name, topic) {
  await create(topic)
  const configs = async () => {
    const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name: topic }] })
    return Object.fromEntries(resources[0].configEntries.map((e) => [e.configName, e.configValue]))
  }
  const set = (t, key, value) => code(() => admin.alterConfigs({ validateOnly: false, resources: [{ type: 2, name: t, configEntries: [{ name: key, value }] }] }))
  got(name, 'set', await set(topic, 'segment.bytes', '2097152'))
  got(name, 'unknown name', await set(topic, 'no.such.config', '1'))
  got(name, 'wrong value', await set(topic, 'segment.bytes', 'many'))
  got(name, 'unknown topic', await set(topic + '-u', 'segment.bytes', '2097152'))
  await until('the change', async () => (await configs())['segment.bytes'] === '2097152')
  const now = await configs()
  for (const key of ['segment.bytes', 'max.message.bytes', 'compression.type', 'cleanup.policy']) got(name, key + ', value', now[key])
}

async function adminGroups(name, topic) {
  await fill(topic, GROUP_PARTS)
  const member = await join(topic, topic)
  await until('the member', () => member.owned.length === GROUP_PARTS)
  got(name, 'delete with a member', await code(() => admin.deleteGroups([topic])))
  await member.leave()
  got(name, 'delete', await code(() => admin.deleteGroups([topic])))
  got(name, 'delete again', await code(() => admin.deleteGroups([topic])))
}

async function adminRecords(name, topic) {
  await timed(topic)
  const remove = (offset) => code(() => admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset }] }))
  got(name, 'delete up to 3, code', await remove('3'))
  got(name, 'delete all, code', await remove('-1'))
  got(name, 'earliest', Number((await admin.fetchTopicOffsets(topic))[0].low))
}

async function main() {
  await zstd.init()
  CompressionCodecs[CompressionTypes.Snappy] = Snappy
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: (encoder) => lz4.compressFrame(encoder.buffer),
    decompress: (buffer) => lz4.decompressFrame(buffer),
  })
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer, 3)),
    decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
  })
  await admin.connect()
  for (const kind of Object.keys(CODECS)) await scenario('codec ' + kind, (name, topic) => codec(name, topic, kind))
  await scenario('records', records)
  await scenario('large', large)
  await scenario('times', times)
  await scenario('idempotent', idempotent)
  await scenario('commits', commits)
  await scenario('admin topics', adminTopics)
  await scenario('admin configs', adminConfigs)
  await scenario('admin groups', adminGroups)
  await scenario('admin records', adminRecords)
  await scenario('group eager', group)
  await admin.disconnect()
}

main().catch((e) => {
  process.stderr.write(e.stack + '\n')
  process.exit(1)
})
