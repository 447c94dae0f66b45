// Runs the built Worker in workerd, with D1, R2 and Durable Objects kept on disk.
//
// Started by `cargo xtask serve` (xtask/src/server.rs), which writes one line of
// JSON to standard input: what wrangler.toml says, plus where things are. The
// answer is one line of JSON on standard output, {"url"}, once the socket
// listens; everything else goes to standard error. When standard input ends,
// however the parent died, workerd is stopped and this process exits.
//
// Clients reach workerd's own socket for the Worker ("direct"), not Miniflare's
// entry Worker in front of it, which would cost two thirds of the requests/s.

import { readFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { Log, LogLevel, Miniflare } from "miniflare";

const HOST = "127.0.0.1";

const input = createInterface({ input: process.stdin });
const ended = new Promise((resolve) => input.once("close", resolve));
const settings = JSON.parse((await input[Symbol.asyncIterator]().next()).value);

/** Miniflare's own messages, all on standard error. */
class StderrLog extends Log {
  log(message) {
    process.stderr.write(`${message}\n`);
  }
}

/** What wrangler would upload: the entry module and the WebAssembly beside it. */
function modules(bundle) {
  const contents = (name) => readFileSync(path.join(bundle, name));
  return {
    "index.js": { type: "esm", contents: contents("index.js").toString("utf8") },
    "index_bg.wasm": { type: "wasm", contents: new Uint8Array(contents("index_bg.wasm")) },
  };
}

/** Bindings by the names that the Worker knows them by. */
function bindings({ name, texts, d1, r2, durableObjects }) {
  return Object.fromEntries([
    ...Object.entries(texts).map(([key, value]) => [key, { type: "text", value }]),
    ...d1.map(({ binding, id }) => [binding, { type: "d1", id }]),
    ...r2.map(({ binding, bucket }) => [binding, { type: "r2", name: bucket }]),
    ...durableObjects.map(({ binding, className }) => [
      binding,
      { type: "durable-object", worker: name, exportName: className },
    ]),
  ]);
}

const miniflare = new Miniflare({
  host: HOST,
  port: 0, // The entry Worker's socket; nobody uses it.
  log: new StderrLog(LogLevel.WARN),
  handleStructuredLogs: ({ level, message }) => process.stderr.write(`worker ${level}: ${message}\n`),
  cf: false, // Don't fetch a sample of request.cf from the network.
  telemetry: { enabled: false },
  enableDevRegistry: false,
  resourcePersistencePath: path.join(settings.state, "storage"),
  workers: [
    {
      config: {
        name: settings.name,
        compatibilityDate: settings.compatibilityDate,
        compatibilityFlags: settings.compatibilityFlags,
        manifest: {
          mainModule: "index.js",
          modulesRoot: settings.bundle,
          modules: modules(settings.bundle),
        },
        env: bindings(settings),
        exports: Object.fromEntries(
          settings.durableObjects.map(({ className, sqlite }) => [
            className,
            { type: "durable-object", storage: sqlite ? "sqlite" : "legacy-kv" },
          ]),
        ),
      },
      dev: { unsafeDirectSockets: [{ host: HOST, port: settings.port }] },
    },
  ],
});

const failed = (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
};
const signalled = ["SIGINT", "SIGTERM"].map((name) => new Promise((resolve) => process.once(name, resolve)));

const url = await miniflare.unsafeGetDirectURL().catch(failed);
process.stdout.write(`${JSON.stringify({ url: url.origin })}\n`);
await Promise.race([ended, ...signalled]);
await miniflare.dispose();
process.exit(0);
