// Drive at 20 Hz from pictures, in Node.js 20.15 or later, by docs/protocol.md alone:
//
//     npm install --no-save @grpc/grpc-js @grpc/proto-loader
//     node examples/node_client.mjs localhost:50051 *.jpg
//
// A line for each answer: what the vehicle may do, and why. See docs/protocol.md, "The client is the last guard".

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { crc32 } from "node:zlib";

const require = createRequire(import.meta.url);
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const PERIOD_MS = 50;
const MAX_ROUND_TRIP_NS = 200_000_000n;
const MAX_FOLLOW_MS = 150;
const MAX_HOLD_MS = 1000;

const proto = new URL("../proto", import.meta.url).pathname;
const definition = loader.loadSync("steerstream/v1/drive_service.proto", {
  includeDirs: [proto], longs: String, enums: Number, defaults: true, oneofs: true,
});
const { DriveService } = grpc.loadPackageDefinition(definition).steerstream.v1;
const VALIDITY_VALID = 1, VALIDITY_WARMING_UP = 2;

/** CRC-32 of the session's id and a command's safety fields, as "The checksum" lays them out. */
export function checksum(sessionId, command) {
  const fields = Buffer.alloc(47);
  fields.writeBigUInt64LE(BigInt(command.sequenceNumber), 0);
  fields.writeBigUInt64LE(BigInt(command.captureTimeNs), 8);
  fields.writeUInt16LE(command.aliveCounter, 16);
  fields.writeUInt8(command.validity & 0xff, 18);
  fields.writeUInt32LE(command.stateEpoch, 19);
  const limited = command.limited ?? {};
  for (const [at, head] of HEADS.entries()) fields.writeDoubleLE(limited[head] ?? NaN, 23 + 8 * at);
  return crc32(fields, crc32(Buffer.from(sessionId)));
}
const HEADS = ["steeringWheelAngleRad", "speedMps", "steeringTorqueNm"];

/** Judges answers before the vehicle follows them; what it may do now is FOLLOW, HOLD or RELEASE. */
export class Guard {
  #awaited = new Map(); // capture time by sequence number: the vehicle's frames without an answer
  #good = null; // the newest command that may be followed
  #counter = null;
  #isGood = false;

  sent(number, captureTimeNs) {
    this.#awaited.set(number, captureTimeNs);
    if (this.#awaited.size > 64) this.#awaited.delete(this.#awaited.keys().next().value);
  }

  skipped(number) {
    this.#awaited.delete(number);
    this.#isGood = false;
  }

  /** Takes a command, and returns what is wrong with it; nothing for one that is followed. */
  received(sessionId, command, nowNs) {
    const doubts = this.#doubts(sessionId, command, nowNs);
    this.#isGood = doubts.length === 0;
    if (this.#isGood) this.#good = command;
    return doubts;
  }

  #doubts(sessionId, command, nowNs) {
    if (checksum(sessionId, command) !== command.checksum) return ["checksum"];
    const doubts = [];
    const before = this.#counter;
    this.#counter = command.aliveCounter;
    const step = (command.aliveCounter - (before ?? command.aliveCounter - 1) + 65_536) % 65_536;
    if (step === 0 || step >= 32_768) doubts.push("alive counter");
    const captured = this.#awaited.get(command.sequenceNumber);
    this.#awaited.delete(command.sequenceNumber);
    if (captured === undefined || String(captured) !== command.captureTimeNs) doubts.push("echo");
    else if (nowNs - captured > MAX_ROUND_TRIP_NS) doubts.push("round trip");
    if (this.#good && BigInt(command.sequenceNumber) < BigInt(this.#good.sequenceNumber)) doubts.push("outdated");
    if (![VALIDITY_VALID, VALIDITY_WARMING_UP].includes(command.validity)) doubts.push("validity");
    const values = HEADS.map((head) => command.limited?.[head]).filter((value) => value != null);
    if (!values.length || !values.every(Number.isFinite)) doubts.push("values");
    return doubts;
  }

  action(nowNs) {
    if (!this.#good) return ["RELEASE", null];
    const ageMs = Number(nowNs - BigInt(this.#good.captureTimeNs)) / 1e6;
    if (ageMs > MAX_HOLD_MS) return ["RELEASE", null];
    return [this.#isGood && ageMs <= MAX_FOLLOW_MS ? "FOLLOW" : "HOLD", this.#good.limited];
  }
}

async function drive(target, pictures) {
  const client = new DriveService(target, grpc.credentials.createInsecure(), {
    "grpc.keepalive_time_ms": 10_000, "grpc.keepalive_timeout_ms": 5_000,
  });
  const stream = client.Drive();
  const guard = new Guard();
  let sessionId = null;
  const opened = new Promise((resolve) => stream.on("data", (answer) => answer.opened && resolve(answer.opened)));
  const ended = new Promise((resolve, reject) => stream.on("end", resolve).on("error", reject));
  stream.on("data", ({ command, skipped }) => {
    if (!command && !skipped) return; // a notice, or a message of a later version
    const nowNs = process.hrtime.bigint();
    if (skipped) guard.skipped(skipped.sequenceNumber);
    const why = skipped ? [skipped.detail] : guard.received(sessionId, command, nowNs);
    const [action, values] = guard.action(nowNs);
    console.log(action, values?.steeringWheelAngleRad ?? "", values?.speedMps ?? "", ...why);
  });
  stream.write({ open: { vehicleId: "node", budgetMs: 50, frameRateHz: 1000 / PERIOD_MS } });
  ({ sessionId } = await Promise.race([opened, ended.then(() => Promise.reject(new Error("no session")))]));
  for (const [number, picture] of pictures.entries()) {
    // While a slow network holds up what was written, a newer picture is worth more than this one.
    if (!stream.writableNeedDrain) {
      const captureTimeNs = process.hrtime.bigint();
      guard.sent(String(number), captureTimeNs);
      stream.write({ frame: { sequenceNumber: String(number), captureTimeNs: String(captureTimeNs), jpeg: picture } });
    }
    await sleep(PERIOD_MS);
  }
  stream.end();
  await ended;
  client.close();
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const [target, ...names] = process.argv.slice(2);
  try {
    await drive(target, names.map((name) => readFileSync(name)));
  } catch (error) {
    const reason = error.metadata?.get("steerstream-reason")[0] ?? "";
    console.error(`${error.message} ${reason}`);
    process.exitCode = 1;
  }
}
