// News in the sound, read as the server's own reader reads it: by the same vectors.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { NewsReader, extensions, parts, silence } from "../../signaling/web/js/news_reader.js";

const vectors = JSON.parse(
  readFileSync(new URL("../data/in_band.json", import.meta.url), "utf8"),
);
const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (two) => parseInt(two, 16));
const hex = (data) => [...data].map((one) => one.toString(16).padStart(2, "0")).join("");

for (const { name, padding, frames, extensions: wanted } of vectors.padding) {
  test(`padding: ${name}`, () => {
    const found = extensions(bytes(padding), frames);
    assert.deepEqual(found?.map((one) => [one.id, one.frame, hex(one.data)]) ?? null, wanted);
  });
}

for (const { name, packet, data, extended } of vectors.packets) {
  test(`packet: ${name}`, () => {
    const found = parts(bytes(extended));
    const ours = extensions(found.padding, found.frames).find((one) => one.id === 122);
    assert.equal(hex(ours.data), data);
    const short = silence(bytes(extended));
    assert.equal(short && hex(short), packet.length <= 4 ? packet : null);
  });
}

test("news: parts, copies and a digest make messages", () => {
  const reader = new NewsReader();
  const told = vectors.news.packets.flatMap((one) => reader.take(bytes(one)));
  assert.deepEqual(told, vectors.news.told);
  const { language, latest, missing, malformed } = reader;
  assert.deepEqual(
    { language, latest, missing, malformed },
    {
      language: vectors.news.language,
      latest: vectors.news.latest,
      missing: vectors.news.missing,
      malformed: vectors.news.malformed,
    },
  );
  reader.caughtUp(reader.latest);
  assert.equal(reader.missing, false);
});

test("any bytes are read or passed over", () => {
  let seed = 7;
  const random = (limit) => (seed = (seed * 48271) % 0x7fffffff) % limit;
  const reader = new NewsReader();
  for (let round = 0; round < 3000; round += 1) {
    const data = Uint8Array.from({ length: random(70) }, () => random(256));
    if (round % 2 && data.length > 1) {
      data[0] |= 3;
      data[1] = (data[1] & 0x83) | 0x40;
    } else if (round % 3 === 0) {
      data.set([0x4e, 1, 0, 1, 0, 1].slice(0, data.length));
    }
    reader.packet(data);
    reader.take(data);
    silence(data);
  }
});
