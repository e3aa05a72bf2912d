// A listener in Debian's Firefox, driven over WebDriver BiDi. Prints what it heard and read.
//
//   node firefox_listen.mjs URL SECONDS LANGUAGE

import puppeteer from "puppeteer-core";

const [url, seconds, language] = process.argv.slice(2);

const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath: "/usr/bin/firefox-esr",
  headless: true,
  extraPrefsFirefox: {
    // Without a microphone's permission Firefox hides its addresses; in a namespace there is no
    // resolver for the names that it gives instead.
    "media.peerconnection.ice.default_address_only": false,
    "media.peerconnection.ice.obfuscate_host_addresses": false,
    "media.autoplay.default": 0,
    "network.captive-portal-service.enabled": false,
    "network.connectivity-service.enabled": false,
  },
});
try {
  const page = await browser.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  await page.evaluateOnNewDocument(() => {
    window.connections = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...args) {
        super(...args);
        window.connections.push(this);
      }
    };
  });
  await page.goto(url);
  await page.waitForSelector("#screen-join:not([hidden])");
  await page.type("#join-name", "Fenna");
  await page.select("#join-captions", language);
  await page.click("#join-button");
  await page.waitForSelector('#connection[data-state="live"]', { timeout: 30_000 });
  await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1000));
  const heard = await page.evaluate(async () => {
    const streams = [];
    for (const pc of window.connections) {
      for (const s of (await pc.getStats()).values()) {
        if (s.type !== "inbound-rtp" || s.kind !== "audio") continue;
        streams.push({
          packets: s.packetsReceived,
          lost: s.packetsLost,
          energy: s.totalAudioEnergy,
          concealed: s.concealedSamples,
          samples: s.totalSamplesReceived,
        });
      }
    }
    const lines = (kind) =>
      [...document.querySelectorAll(`.caption:not(.partial) .${kind}`)].map((e) => e.textContent);
    return { streams, originals: lines("original"), translations: lines("translation"),
      news: document.body.dataset.news ?? "" };
  });
  console.log(JSON.stringify({ ...heard, faults, version: await browser.version() }));
} finally {
  await browser.close();
}
