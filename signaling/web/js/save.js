// What was said so far, as a file.

import { ApiError, request } from "./api.js";

/**
 * Let the browser save the transcript as the reader reads it: translated, as it was said, or both.
 * @param {{ room: string, token: string }} pass
 * @param {string} format txt, vtt or srt
 * @param {string | null} language That captions are read in; null for the originals.
 * @param {"both" | "translation" | "original"} shown
 */
export async function saveTranscript(pass, format, language, shown) {
  const wanted = shown === "original" ? null : language;
  /** @type {Response} */
  let reply;
  try {
    reply = await get(pass, format, wanted, shown === "both");
  } catch (error) {
    // Nobody has read anything in this language yet: what was said is what there is.
    if (!(error instanceof ApiError) || error.code !== "language_unavailable") throw error;
    reply = await get(pass, format, null, false);
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await reply.blob());
  link.download = `captions-${pass.room}.${format}`;
  link.click();
  // Firefox reads it after the click.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * @param {{ room: string, token: string }} pass
 * @param {string} format
 * @param {string | null} language
 * @param {boolean} both
 */
function get(pass, format, language, both) {
  const query = new URLSearchParams({ format, both: both ? "1" : "0" });
  if (language) query.set("lang", language);
  return request(`/api/rooms/${encodeURIComponent(pass.room)}/captions?${query}`, {
    headers: { Authorization: `Bearer ${pass.token}` },
  });
}
