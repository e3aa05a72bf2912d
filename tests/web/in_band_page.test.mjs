// The player of docs/in-band.md does what the page says.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { TransformStream } from "node:stream/web";
import vm from "node:vm";

const page = readFileSync(new URL("../../docs/in-band.md", import.meta.url), "utf8");
const code = /```js\n([^]*?)```/.exec(page)[1];

/** A silent packet with `data` as the extension `id`, and before it another extension. */
function packet(data, id = 122) {
  const padding = [3 << 1 | 1, 9, 40 << 1 | 1, 2, 1, 2, id << 1, ...data];
  const full = Math.floor(padding.length / 254);
  const lengths = [...Array(full).fill(255), padding.length - full * 254];
  return Uint8Array.from([0x7b, 0x41, ...lengths, ...padding]);
}

function caption(id, text, kept = true) {
  const body = new TextEncoder().encode(
    JSON.stringify({ id: "1-1", m: { type: "caption", caption: { name: "Ana", text, translations: {} } } }),
  );
  const record = new Uint8Array(18 + body.length);
  const view = new DataView(record.buffer);
  view.setUint8(0, 1);
  view.setUint16(1, 15 + body.length);
  view.setUint8(3, kept ? 1 : 0);
  view.setUint32(4, id);
  view.setUint16(14, body.length);
  record.set(body, 18);
  return [...record];
}

test("the player of thirty lines prints every final once and hands all frames on", async () => {
  const printed = [];
  const context = {
    TextDecoder,
    TransformStream,
    console: { log: (...parts) => printed.push(parts[1]) },
  };
  vm.runInNewContext(code, context);
  assert.ok(code.trim().split("\n").length <= 40);
  const head = [0x4e, 1, 0, 1, 2, 0x70, 0x74];
  const digest = [2, 0, 4, 0, 0, 0, 1];
  const packets = [
    packet([...head, ...digest, ...caption(1, "one")]),
    packet([...head, ...caption(1, "one"), ...digest]),
    packet([...head, ...caption(2, "two ".repeat(60)), ...caption(3, "three")]),
    packet([...head, ...caption(1, "a partial", false)]),
    packet([...head, ...caption(4, "not ours")], 121),
    packet([0x50, ...head.slice(1), ...caption(5, "another's")]),
    Uint8Array.of(0xf8, 1, 2, 3),
    Uint8Array.of(0xfb, 0x41, 3, 9, 0, 0, 0),
  ].map((data) => ({ data: data.buffer }));
  const out = [];
  const { readable, writable } = new TransformStream();
  context.onrtctransform({
    transformer: {
      readable,
      writable: new WritableStream({ write: (frame) => void out.push(frame) }),
    },
  });
  const writer = writable.getWriter();
  for (const frame of packets) await writer.write(frame);
  await writer.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(printed, ["one", "two ".repeat(60), "three"]);
  assert.deepEqual(out, packets);
});
