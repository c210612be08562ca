// The keyboard map. A page registers its keys while it is shown; the help dialog lists the same table.
import { html, useEffect, useState, useRef } from "./dom.js";
import { t } from "./words.js";

const SEQUENCE_MS = 1200;
const STORED_SWITCH = "manycall.keys";
const layers = [];
let prefix = "";
let prefixAt = 0;

const isTyping = (target) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(input|textarea|select)$/i.test(target.tagName));

/** WCAG 2.1.4: shortcuts of a single character can be switched off. */
const areKeysOn = () => localStorage.getItem(STORED_SWITCH) !== "off";
const switchKeys = (on) => localStorage.setItem(STORED_SWITCH, on ? "on" : "off");

/** Return all registered keys as [key, description], those of the page first. */
const allKeys = () => layers.toReversed().flatMap((layer) => layer.current.map(([key, , label]) => [key, label]));

function find(key) {
  for (const layer of layers.toReversed()) {
    const entry = layer.current.find(([name]) => name.split(" , ").includes(key));
    if (entry) return entry[1];
  }
  return null;
}

const isPrefix = (key) =>
  layers.some((layer) => layer.current.some(([name]) => name.split(" , ").some((each) => each.startsWith(`${key} `))));

function onKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]") || (event.key !== "Escape" && isTyping(event.target))) return;
  if (event.key.length === 1 && !areKeysOn()) return;
  const key = prefix && performance.now() - prefixAt < SEQUENCE_MS ? `${prefix} ${event.key}` : event.key;
  prefix = "";
  const action = find(key);
  if (action) {
    event.preventDefault();
    action(event);
  } else if (isPrefix(key)) {
    prefix = key;
    prefixAt = performance.now();
  }
}
addEventListener("keydown", onKey);

/** Register keys while the component is shown: a list of [key, action, description]. "g r" is g, then r. */
export function useKeys(entries) {
  const layer = useRef(entries);
  layer.current = entries;
  useEffect(() => {
    layers.push(layer);
    return () => layers.splice(layers.indexOf(layer), 1);
  }, []);
}

/** The dialog that lists all keys and has the switch for single-character shortcuts. */
export function KeyHelp({ onClose }) {
  const dialog = useRef();
  const [on, setOn] = useState(areKeysOn());
  useEffect(() => dialog.current.showModal(), []);
  const toggle = (event) => (switchKeys(event.target.checked), setOn(event.target.checked));
  return html`<dialog ref=${dialog} aria-labelledby="keys-title" onClose=${onClose}>
    <h2 id="keys-title">${t("Keyboard")}</h2>
    <dl class="keys">
      ${allKeys().map(
        ([key, label]) => html`<div><dt>${key.split(" , ").map((each) => html`<kbd>${keyName(each)}</kbd> `)}</dt>
          <dd>${label}</dd></div>`,
      )}
    </dl>
    <label class="check"><input type="checkbox" checked=${on} onChange=${toggle} />${t("Single-key shortcuts are on")}</label>
    <form method="dialog"><button>${t("Close")}</button></form>
  </dialog>`;
}

const NAMES = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };
const keyName = (key) => NAMES[key] || key;
