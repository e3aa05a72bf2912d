// Who is on stage, and whose hands are up.

import { $, avatar, icon, make } from "./dom.js";
import { t } from "./i18n.js";
import { endonym } from "./languages.js";

/** @typedef {import("./protocol.js").StageMember} StageMember */
/** @typedef {import("./protocol.js").Hand} Hand */

export class StageView {
  #list = $("stage");
  /** @type {Map<string, HTMLLIElement>} */
  #cards = new Map();
  /** @type {ReadonlySet<string>} */
  #talking = new Set();

  /** @param {(member: StageMember) => void} onManage */
  constructor(onManage) {
    this.onManage = onManage;
  }

  /**
   * @param {readonly StageMember[]} stage
   * @param {string} me
   * @param {(member: StageMember) => boolean} manageable
   */
  show(stage, me, manageable) {
    // The button that had the focus is made anew: give it back.
    const focused = document.activeElement?.closest("li")?.dataset["participant"];
    this.#cards.clear();
    this.#list.replaceChildren(
      ...stage.map((member) => {
        const card = this.#card(member, me, manageable(member));
        this.#cards.set(member.participant, card);
        return card;
      }),
    );
    if (focused) this.#cards.get(focused)?.querySelector("button")?.focus();
    this.talking([...this.#talking]);
  }

  /** @param {readonly (string | null)[]} slots */
  talking(slots) {
    this.#talking = new Set(slots.filter((slot) => slot !== null));
    for (const [participant, card] of this.#cards) {
      card.classList.toggle("talking", this.#talking.has(participant));
    }
  }

  /**
   * @param {StageMember} member
   * @param {string} me
   * @param {boolean} manageable
   */
  #card(member, me, manageable) {
    const { name } = member;
    const role = t(`role.${member.role}`);
    const face = make("span", { class: "face" }, avatar(member.participant, member.name));
    if (member.muted) face.append(make("span", { class: "badge" }, icon("mic-off")));
    const state = member.connected ? (member.muted ? "stage.muted" : "") : "stage.away";
    const away = member.connected ? "" : " away";
    const card = make(
      "li",
      { class: `member${away}` },
      face,
      make("span", { class: "name", text: name, attributes: { title: name } }),
      make(
        "span",
        { class: "detail" },
        make("span", {
          class: `role role-${member.role}`,
          text: member.participant === me ? t("stage.you", { role }) : role,
        }),
        make("span", { class: "speaks", text: endonym(member.speaks), lang: member.speaks }),
      ),
    );
    if (state) card.append(make("span", { class: "visually-hidden", text: t(state) }));
    card.dataset["participant"] = member.participant;
    if (manageable) {
      const button = make("button", {
        class: "button quiet compact round manage",
        attributes: { "aria-label": t("stage.manage", { name: member.name }) },
      });
      button.append(icon("more"));
      button.addEventListener("click", () => this.onManage(member));
      card.append(button);
    }
    return card;
  }
}

export class HandsView {
  /** Asked, and not answered yet. @type {Set<string>} */
  invited = new Set();

  /**
   * @param {(hand: Hand) => void} onInvite
   * @param {(hand: Hand) => void} onLower
   */
  constructor(onInvite, onLower) {
    this.onInvite = onInvite;
    this.onLower = onLower;
  }

  /**
   * @param {readonly Hand[]} hands
   * @param {boolean} keeper Whether the reader may invite; only they see the queue.
   */
  show(hands, keeper) {
    $("hands-section").hidden = !keeper || hands.length === 0;
    $("hands-total").textContent = String(hands.length);
    $("hands").replaceChildren(...(keeper ? hands.map((hand) => this.#row(hand)) : []));
  }

  /** @param {Hand} hand */
  #row(hand) {
    const asked = this.invited.has(hand.participant);
    const invite = make("button", {
      class: "button primary compact",
      text: t(asked ? "hands.invited" : "hands.invite"),
      attributes: { "aria-label": t("hands.invite_name", { name: hand.name }) },
    });
    invite.disabled = asked;
    invite.addEventListener("click", () => this.onInvite(hand));
    const lower = make("button", {
      class: "button quiet compact round",
      attributes: { "aria-label": t("hands.lower_name", { name: hand.name }) },
    });
    lower.append(icon("close"));
    lower.addEventListener("click", () => this.onLower(hand));
    const row = make(
      "li",
      {},
      avatar(hand.participant, hand.name),
      make(
        "span",
        { class: "who" },
        make("b", { text: hand.name }),
        make("span", { text: " " }),
        make("span", { class: "soft small", text: endonym(hand.speaks), lang: hand.speaks }),
      ),
      invite,
      lower,
    );
    row.dataset["participant"] = hand.participant;
    return row;
  }
}
