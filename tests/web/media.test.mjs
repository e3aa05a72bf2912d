// What the page does to session descriptions, and how long it waits.

import assert from "node:assert/strict";
import { test } from "node:test";
import { withNack } from "../../signaling/web/js/listen.js";
import { fragmentOf, iceServersOf, withCredentials } from "../../signaling/web/js/peer.js";
import { withOpusOptions } from "../../signaling/web/js/publish.js";
import { backoff } from "../../signaling/web/js/socket.js";

const OFFER = [
  "v=0",
  "a=group:BUNDLE 0 1",
  "m=audio 9 UDP/TLS/RTP/SAVPF 111 63",
  "a=mid:0",
  "a=ice-ufrag:abcd",
  "a=ice-pwd:0123456789012345678901",
  "a=rtpmap:111 opus/48000/2",
  "a=rtcp-fb:111 transport-cc",
  "a=fmtp:111 minptime=10;useinbandfec=1",
  "a=rtpmap:63 red/48000/2",
  "m=audio 9 UDP/TLS/RTP/SAVPF 111 63",
  "a=mid:1",
  "a=ice-ufrag:abcd",
  "a=ice-pwd:0123456789012345678901",
  "a=rtpmap:111 opus/48000/2",
  "a=fmtp:111 minptime=10;useinbandfec=1",
  "",
].join("\r\n");

test("retransmission is asked for once for every Opus section", () => {
  const munged = withNack(OFFER);
  assert.equal(munged.match(/^a=rtcp-fb:111 nack\r$/gm)?.length, 2);
  assert.equal(withNack(munged), munged);
  assert.equal(munged.includes("\n\n"), false);
});

test("discontinuous transmission is asked for once", () => {
  const munged = withOpusOptions(OFFER);
  assert.equal(munged.match(/;usedtx=1\r$/gm)?.length, 2);
  assert.equal(withOpusOptions(munged), munged);
  assert.equal(withOpusOptions("v=0\r\n"), "v=0\r\n");
});

test("an ICE restart sends the credentials and takes the new ones over", () => {
  const fragment = fragmentOf(OFFER);
  assert.match(fragment, /^a=ice-ufrag:abcd\r$/m);
  assert.match(fragment, /^a=ice-pwd:0123456789012345678901\r$/m);
  assert.match(fragment, /^a=mid:0\r$/m);
  const answer = withCredentials(OFFER, "a=ice-ufrag:wxyz\r\na=ice-pwd:ABCDEFGHIJKLMNOPQRSTUV\r\n");
  assert.equal(answer.match(/^a=ice-ufrag:wxyz\r$/gm)?.length, 2);
  assert.equal(answer.includes("abcd"), false);
  assert.equal(withCredentials(OFFER, "nothing"), OFFER);
});

test("ICE servers come from Link headers", () => {
  const header =
    '<stun:stun.example.net>; rel="ice-server", ' +
    '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="u, v"; ' +
    'credential="secret"; credential-type="password", <https://example.net>; rel="next"';
  assert.deepEqual(iceServersOf(header), [
    { urls: "stun:stun.example.net" },
    { urls: "turn:turn.example.net?transport=udp", username: "u, v", credential: "secret" },
  ]);
  assert.deepEqual(iceServersOf(null), []);
});

test("waits double up to a limit, and are spread", () => {
  assert.deepEqual([1, 2, 3].map((n) => backoff(n, () => 1)), [800, 1600, 3200]);
  assert.deepEqual([1, 2, 3].map((n) => backoff(n, () => 0)), [400, 800, 1600]);
  assert.equal(backoff(50, () => 1), 15_000);
});
