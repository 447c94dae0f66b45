// node run.mjs MODULE HOURS ROUNDS: prints {"decode": [seconds…], "encode": [seconds…]}, processor time a pass.
// HOURS is a file of hours, each u32 LE bytes of the head, u32 LE bytes of the body, both.
import { readFileSync } from "node:fs";
import { argv, cpuUsage, stdout } from "node:process";

const [, , module, hours, rounds] = argv;
const { exports: wasm } = (await WebAssembly.instantiate(readFileSync(module))).instance;
const file = readFileSync(hours);
for (let at = 0; at < file.length; ) {
  const [head, body] = [file.readUInt32LE(at), file.readUInt32LE(at + 4)];
  const bytes = file.subarray(at + 8, at + 8 + head + body);
  const to = wasm.reserve(bytes.length);
  new Uint8Array(wasm.memory.buffer, to, bytes.length).set(bytes);
  if (wasm.take(head, body) !== 1) throw new Error("an hour does not decode");
  at += 8 + bytes.length;
}

const PASSES = 10;
const seconds = (work) => {
  const start = cpuUsage();
  for (let pass = 0; pass < PASSES; pass++) work();
  const { user, system } = cpuUsage(start);
  return (user + system) / 1e6 / PASSES;
};
const measured = (work) => {
  work();
  return Array.from({ length: Number(rounds) }, () => seconds(work));
};
stdout.write(JSON.stringify({ decode: measured(wasm.decode), encode: measured(wasm.encode) }));
