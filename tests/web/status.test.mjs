// What is said of the captions. Without its texts the page says their keys.

import assert from "node:assert/strict";
import { test } from "node:test";
import { readable, targets } from "../../signaling/web/js/languages.js";
import { statusWords } from "../../signaling/web/js/status.js";

const status = (over) => ({
  state: "ready",
  detail: "",
  progress: null,
  behind_ms: 0,
  pairs: ["en-pt", "pt-en"],
  recognises: ["en", "pt"],
  ...over,
});
const say = (over, language = "pt") => statusWords(status(over), language, ["en"]);

test("how far the captions are", () => {
  assert.deepEqual(say({}), { text: "", bad: false });
  assert.equal(statusWords(null, "pt", ["en"]).text, "");
  assert.equal(say({ state: "off" }).text, "status.off");
  assert.equal(say({ state: "fetching", progress: 0.43 }).text, "status.fetching");
  assert.equal(say({ state: "fetching" }).text, "status.fetching_plain");
  assert.equal(say({ state: "loading" }).text, "status.loading");
  assert.deepEqual(say({ state: "failed" }), { text: "status.failed", bad: true });
  assert.deepEqual(say({ state: "degraded" }), { text: "status.degraded", bad: true });
});

test("being late is said from three seconds on", () => {
  assert.equal(say({ behind_ms: 3000 }).text, "");
  assert.equal(say({ behind_ms: 3001 }).text, "status.behind");
});

test("a language that nothing is translated into is said", () => {
  assert.equal(say({}, "zh").text, "status.language_missing");
  assert.equal(say({}, "en").text, "");
  assert.equal(say({}, null).text, "");
});

test("what can be read", () => {
  assert.deepEqual([...targets(status({ pairs: ["en-pt", "en-zh-Hans"] }))], ["pt", "zh-Hans"]);
  assert.equal(readable("pt", ["en", "zh"], status({})), true);
  assert.equal(readable("pt", ["zh"], status({})), false);
  assert.equal(readable("zh", ["zh"], null), true);
});
