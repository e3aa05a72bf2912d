// Every text exists in every language of the page, and every key that is used exists.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { UI_LANGUAGES, choose } from "../../signaling/web/js/i18n.js";

const web = new URL("../../signaling/web/", import.meta.url);
const read = (path) => readFileSync(new URL(path, web), "utf8");
const messages = Object.fromEntries(
  Object.keys(UI_LANGUAGES).map((tag) => [tag, JSON.parse(read(`messages/${tag}.json`))]),
);
const known = new Set(Object.keys(messages.en));

test("all languages have the same texts, with the same places for values", () => {
  const places = (text) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();
  for (const [tag, texts] of Object.entries(messages)) {
    assert.deepEqual(Object.keys(texts).sort(), [...known].sort(), tag);
    for (const [key, text] of Object.entries(texts)) {
      assert.deepEqual(places(text), places(messages.en[key]), `${tag} ${key}`);
    }
  }
});

test("every text that the pages name exists, and in the words of en.json", () => {
  for (const page of ["index.html", "room.html"]) {
    const html = read(page);
    for (const [, key, text] of html.matchAll(/data-i18n="([^"]+)"[^>]*>([^<]*)</g)) {
      assert.equal(messages.en[key], text, key);
    }
    for (const [, pairs] of html.matchAll(/data-i18n-attr="([^"]+)"/g)) {
      for (const pair of pairs.split(";")) assert.ok(known.has(pair.split(":")[1]), pair);
    }
  }
});

test("every text that the modules name exists", () => {
  for (const file of readdirSync(new URL("js/", web)).filter((name) => name.endsWith(".js"))) {
    for (const [, key] of read(`js/${file}`).matchAll(/\bt\(\s*"([^"]+)"/g)) {
      assert.ok(known.has(key) || known.has(`${key}.other`), `${file}: ${key}`);
    }
  }
});

test("the page starts in the reader's language", () => {
  assert.equal(choose(null, ["zh-CN", "en"]), "zh-Hans");
  assert.equal(choose(null, ["pt-BR", "zh-TW"]), "zh-Hans");
  assert.equal(choose(null, ["pt-BR"]), "en");
  assert.equal(choose("en", ["zh-CN"]), "en");
  assert.equal(choose("xx", ["zh-CN"]), "zh-Hans");
});
