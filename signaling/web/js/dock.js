// The bars over and under the captions: connection, listeners, buttons, and what is wrong.

import { $, setIcon } from "./dom.js";
import { t, uiLanguage } from "./i18n.js";

/**
 * @param {string} id
 * @param {string} symbol
 * @param {string} key
 * @param {boolean} [off]
 */
function set(id, symbol, key, off = false) {
  const button = $(id);
  setIcon(button, symbol);
  button.querySelector("span")?.replaceChildren(t(key));
  button.classList.toggle("off", off);
}

/**
 * @param {object} state
 * @param {boolean} state.soundOff
 * @param {boolean} state.known Whether the server has said who the person is.
 * @param {boolean} state.onStage
 * @param {boolean} state.host
 * @param {boolean} state.handUp
 * @param {{ live: boolean, starting: boolean, muted: boolean }} state.microphone
 */
export function drawDock({ soundOff, known, onStage, host, handUp, microphone }) {
  if (soundOff) set("sound-button", "sound-off", "dock.sound_off", true);
  else set("sound-button", "sound", "dock.sound_on");
  $("sound-button").setAttribute("aria-pressed", String(!soundOff));

  $("hand-button").hidden = onStage || !known;
  set("hand-button", "hand", handUp ? "dock.lower" : "dock.raise");
  $("hand-button").setAttribute("aria-pressed", String(handUp));

  const { live, starting, muted } = microphone;
  $("mic-button").hidden = !onStage;
  if (starting) set("mic-button", "mic", "dock.mic_starting");
  else if (!live) set("mic-button", "mic-off", "dock.mic_start", true);
  else if (muted) set("mic-button", "mic-off", "dock.unmute", true);
  else set("mic-button", "mic", "dock.mute");
  $("meter").hidden = !live;
  $("leave-stage-button").hidden = !onStage || host;
}

/**
 * @param {import("./socket.js").SocketState} words
 * @param {import("./peer.js").PeerState} sound
 * @param {number} listeners
 */
export function drawConnection(words, sound, listeners) {
  let shown = /** @type {string} */ (words === "stopped" ? "reconnecting" : words);
  let text = t(`connection.${shown}`);
  if (words === "live" && sound === "mending") {
    shown = "reconnecting";
    text = t("connection.media");
  } else if (words === "live" && sound === "starting") {
    shown = "connecting";
    text = t("connection.connecting");
  }
  const line = $("connection");
  line.dataset["state"] = shown;
  // Said aloud by screen readers when it changes, so it is only set when it does.
  if (line.textContent !== text) line.textContent = text;
  $("listener-count").textContent = t("room.listeners", { n: listeners });
  $("listener-number").textContent = listeners.toLocaleString(uiLanguage());
}

/**
 * The strip over the dock; one topic at a time.
 * @param {"sound" | "sound-error" | "microphone"} topic
 * @param {string} text Empty takes it away, where it is this topic's.
 * @param {string} [button]
 * @param {() => unknown} [then]
 */
export function banner(topic, text, button = "", then) {
  const strip = $("banner");
  if (!text && strip.dataset["topic"] !== topic) return;
  strip.hidden = !text;
  strip.dataset["topic"] = text ? topic : "";
  $("banner-text").textContent = text;
  const press = $("banner-button", HTMLButtonElement);
  press.hidden = !button;
  press.textContent = button ? t(button) : "";
  press.onclick = () => void then?.();
}
