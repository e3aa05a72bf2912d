// The pure model of the captions.

import assert from "node:assert/strict";
import { test } from "node:test";
import { CaptionLog, STALE_PARTIAL_MS, visible } from "../../signaling/web/js/captions.js";

const line = (over = {}) => ({
  utterance: "u1",
  participant: "p1",
  name: "Ana",
  revision: 1,
  final: false,
  language: "en",
  text: "how much",
  start_ms: 1000,
  end_ms: 1500,
  translations: {},
  untranslated: {},
  ...over,
});

test("a revision replaces the text in place, and an older one does not", () => {
  const log = new CaptionLog();
  log.take(line(), 0);
  log.take(line({ revision: 3, text: "how much does it" }), 0);
  assert.equal(log.take(line({ revision: 2, text: "how much does" }), 0), null);
  assert.deepEqual(log.lines.map((l) => l.text), ["how much does it"]);
});

test("a final text never changes, while its translations grow", () => {
  const log = new CaptionLog();
  log.take(line({ revision: 2, final: true, text: "How much?" }), 0);
  assert.equal(log.take(line({ revision: 9, text: "how mush" }), 0), null);
  const grown = log.take(
    line({ revision: 3, final: true, text: "How mush?", translations: { pt: "Quanto?" } }),
    0,
  );
  assert.equal(grown.text, "How much?");
  assert.deepEqual(grown.translations, { pt: "Quanto?" });
});

test("the same message twice says nothing new", () => {
  const log = new CaptionLog();
  const caption = line({ final: true, translations: { pt: "Quanto" } });
  assert.notEqual(log.take(caption, 0), null);
  assert.equal(log.take(caption, 0), null);
  assert.equal(log.take(line({ final: true, translations: { pt: "Quanto" } }), 0), null);
});

test("a translation of an older text stays, marked, until its own arrives", () => {
  const log = new CaptionLog();
  log.take(line({ translations: { pt: "Quanto" } }), 0);
  const newer = log.take(line({ revision: 2, final: true, text: "How much is it?" }), 0);
  assert.deepEqual(newer.stale, ["pt"]);
  assert.deepEqual(visible(newer, "pt", "both"), {
    original: "How much is it?",
    translation: "Quanto",
    missing: null,
    settled: false,
  });
  const done = log.take(
    line({ revision: 3, final: true, text: "How much is it?", translations: { pt: "Quanto é?" } }),
    0,
  );
  assert.deepEqual(done.stale, []);
  assert.equal(visible(done, "pt", "both").settled, true);
});

test("a translation takes away the reason why there was none", () => {
  const log = new CaptionLog();
  log.take(line({ final: true, untranslated: { zh: "unavailable" } }), 0);
  const done = log.take(line({ revision: 2, final: true, translations: { zh: "多少钱" } }), 0);
  assert.deepEqual(done.untranslated, {});
});

test("lines stand in the order of speech, whatever the order of arrival", () => {
  const log = new CaptionLog();
  for (const [utterance, start_ms] of [["b", 2000], ["c", 3000], ["a", 1000]]) {
    log.take(line({ utterance, start_ms }), 0);
  }
  assert.deepEqual(log.lines.map((l) => l.utterance), ["a", "b", "c"]);
});

test("another language forgets the old translations", () => {
  const log = new CaptionLog();
  log.take(line({ final: true, translations: { pt: "Quanto?" } }), 0);
  log.retranslate([line({ final: true, translations: { zh: "多少？" } })], 0);
  assert.deepEqual(log.lines[0].translations, { zh: "多少？" });
});

test("partials that nobody finishes go, finals stay, and the log is bounded", () => {
  const log = new CaptionLog(2);
  log.take(line({ utterance: "lost" }), 0);
  log.take(line({ utterance: "kept", final: true }), 0);
  assert.deepEqual(log.expire(STALE_PARTIAL_MS), []);
  assert.deepEqual(log.expire(STALE_PARTIAL_MS + 1), ["lost"]);
  log.take(line({ utterance: "x", start_ms: 5000 }), 0);
  log.take(line({ utterance: "y", start_ms: 6000 }), 0);
  assert.deepEqual(log.trim(), ["kept"]);
  assert.deepEqual(log.lines.map((l) => l.utterance), ["x", "y"]);
});

test("what a reader sees", () => {
  const said = line({ final: true, text: "Hello", translations: { pt: "Olá" } });
  const see = (language, show, caption = said) => {
    const { original, translation, missing } = visible(caption, language, show);
    return [original, translation, missing];
  };
  assert.deepEqual(see("pt", "both"), ["Hello", "Olá", null]);
  assert.deepEqual(see("pt", "translation"), [null, "Olá", null]);
  assert.deepEqual(see("pt", "original"), ["Hello", null, null]);
  assert.deepEqual(see("en", "both"), ["Hello", null, null]);
  assert.deepEqual(see(null, "both"), ["Hello", null, null]);
  assert.deepEqual(see("zh", "translation"), ["Hello", null, null]);
  const without = line({ final: true, untranslated: { zh: "language_unavailable" } });
  assert.deepEqual(see("zh", "both", without), ["how much", null, "language_unavailable"]);
});
