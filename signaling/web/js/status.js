// How far the captions are, in words.

import { t } from "./i18n.js";
import { nameOf, readable } from "./languages.js";

/** @typedef {import("./protocol.js").CaptionsStatus} CaptionsStatus */

/** Later than this is said, in milliseconds. */
const LATE_MS = 3_000;

/**
 * @param {CaptionsStatus | null} status
 * @param {string | null} language What the person reads.
 * @param {readonly string[]} spoken
 * @returns {{ text: string, bad: boolean }}
 */
export function statusWords(status, language, spoken) {
  if (!status) return { text: "", bad: false };
  const { state, detail, progress } = status;
  switch (state) {
    case "off":
      return { text: t("status.off"), bad: false };
    case "fetching": {
      if (progress === null) return { text: t("status.fetching_plain"), bad: false };
      const percent = `${Math.floor(progress * 100)}%`;
      return { text: t("status.fetching", { percent }), bad: false };
    }
    case "loading":
      return { text: t("status.loading"), bad: false };
    case "failed":
      return { text: t("status.failed", { detail }), bad: true };
    default:
  }
  if (status.behind_ms > LATE_MS) {
    return { text: t("status.behind", { seconds: Math.round(status.behind_ms / 1000) }), bad: true };
  }
  if (language !== null && !readable(language, spoken, status)) {
    return { text: t("status.language_missing", { language: nameOf(language) }), bad: true };
  }
  if (state === "degraded") return { text: t("status.degraded", { detail }), bad: true };
  return { text: "", bad: false };
}
