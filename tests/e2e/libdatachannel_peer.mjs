// A WHIP publisher and a WHEP player of another family: libdatachannel (libjuice's ICE, its own
// DTLS and SRTP), which shares no code with Chromium, Firefox or aiortc.
//
//   node libdatachannel_peer.mjs publish URL TOKEN SECONDS OPUS_JSON
//   node libdatachannel_peer.mjs play URL TOKEN SECONDS
//
// OPUS_JSON: a file with a list of Opus packets of 20 ms, in base64. Prints JSON.

import { readFileSync } from "node:fs";
import nodeDataChannel from "node-datachannel";

const [role, url, token, seconds, opusFile] = process.argv.slice(2);
const PAYLOAD_TYPE = 111;
const SSRC = 0x1234abcd;

const pc = new nodeDataChannel.PeerConnection("peer", { iceServers: [] });
const heard = { packets: 0, bytes: 0, late: 0, ssrcs: [], silence: 0 };

const audio = new nodeDataChannel.Audio("0", role === "publish" ? "SendOnly" : "RecvOnly");
audio.addOpusCodec(PAYLOAD_TYPE);
if (role === "publish") audio.addSSRC(SSRC, "audio", "stream", "track");
const track = pc.addTrack(audio);
if (role === "play") {
  track.setMediaHandler?.(new nodeDataChannel.RtcpReceivingSession());
  let last = -1;
  track.onMessage((message) => {
    const payloadType = message[1] & 0x7f;
    if (message.length < 12 || (payloadType >= 64 && payloadType <= 95)) return; // RTCP
    const sequence = message.readUInt16BE(2);
    if (last >= 0 && ((sequence - last) & 0xffff) !== 1) heard.late += 1;
    last = sequence;
    heard.packets += 1;
    heard.bytes += message.length - 12;
    const ssrc = message.readUInt32BE(8);
    if (!heard.ssrcs.includes(ssrc)) heard.ssrcs.push(ssrc);
  });
}

const offer = await new Promise((resolve) => {
  pc.onGatheringStateChange((now) => {
    if (now === "complete") resolve(pc.localDescription().sdp);
  });
  pc.setLocalDescription("offer");
});
const headers = { Authorization: `Bearer ${token}` };
const reply = await fetch(url, {
  method: "POST",
  headers: { ...headers, "Content-Type": "application/sdp" },
  body: offer,
});
const answer = await reply.text();
if (reply.status !== 201) throw new Error(`${reply.status} ${answer}`);
pc.setRemoteDescription(answer, "answer");

if (role === "publish") {
  const packets = JSON.parse(readFileSync(opusFile, "utf8")).map((p) => Buffer.from(p, "base64"));
  const start = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    // Catch up with the clock: timers alone are late under load.
    while (sent < (performance.now() - start) / 20) {
      if (track.isOpen()) {
        const header = Buffer.alloc(12);
        header[0] = 0x80;
        header[1] = PAYLOAD_TYPE;
        header.writeUInt16BE(sent & 0xffff, 2);
        header.writeUInt32BE((sent * 960) >>> 0, 4);
        header.writeUInt32BE(SSRC, 8);
        track.sendMessageBinary(Buffer.concat([header, packets[sent % packets.length]]));
      }
      sent += 1;
    }
  }, 10);
  await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1000));
  clearInterval(timer);
} else {
  await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1000));
}
const state = pc.state();
const session = new URL(reply.headers.get("location"), url);
const gone = await fetch(session, { method: "DELETE", headers });
const library = nodeDataChannel.getLibraryVersion?.() ?? "";
console.log(JSON.stringify({ ...heard, state, post: reply.status, delete: gone.status, library }));
pc.close();
nodeDataChannel.cleanup();
