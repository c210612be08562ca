// Small parts that several pages share: errors, states, copy buttons, figures, tables.
import { html, useState, Component, classes } from "./dom.js";
import { say, t } from "./words.js";
import { Line } from "./text.js";
import { formatRoute, go } from "./route.js";

const SHAPES = { running: "●", silent: "◌", killed: "✕", stopped: "▲", partial: "◐", finished: "○", none: "·" };
export const STATES = Object.keys(SHAPES);

/** A state as a shape and a word. The colour repeats it. */
export const State = ({ state }) =>
  html`<span class=${`state state-${state}`}><span aria-hidden="true">${SHAPES[state] || "·"}</span> ${stateWord(state)}</span>`;

/** Return the word of a state. */
export function stateWord(state) {
  const words = {
    running: t("running"), silent: t("silent"), killed: t("killed"), stopped: t("stopped"), partial: t("partial"),
    finished: t("finished"), none: t("file"),
  };
  return words[state] || state;
}

/** An error with what to do about it. */
export function ErrorBox({ error }) {
  if (!error) return null;
  if (error.status === 401) {
    return html`<div class="box" role="alert"><h2>${t("This page needs the address that the command printed")}</h2>
      <p>${t("The address contains a token, so that nobody else on this machine can read your runs. Copy it from the terminal in which manycall view runs. It ends with #t= and 43 characters.")}</p></div>`;
  }
  const text = error.status === 0 ? t("The server does not answer. Is manycall view still running?") : say(error.message);
  return html`<div class="box bad" role="alert"><p><${Line} value=${text} /></p>
    ${error.hint && html`<${Remedy} text=${error.hint} />`}</div>`;
}

/** What to do: a command with a button that copies it, or a sentence. */
export const Remedy = ({ text }) =>
  text.startsWith("manycall ") ? html`<p class="remedy"><code><${Line} value=${text} /></code> <${Copy} text=${text} /></p>` : html`<p class="remedy"><${Line} value=${say(text)} /></p>`;

/** Catches an error while a page is drawn, so that a row that nobody foresaw does not leave an empty page. */
export class Boundary extends Component {
  componentDidCatch(error) {
    this.setState({ error });
  }

  render({ children }, { error }) {
    return error ? html`<${ErrorBox} error=${{ status: -1, message: t("This page could not be drawn: {error}", { error: error.message }) }} />` : children;
  }
}

/** A button that copies a text. */
export function Copy({ text, label = t("copy") }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await copyText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return html`<button class="small" onClick=${copy}>${done ? t("copied") : label}</button>`;
}

/** Copy a text to the clipboard. */
export async function copyText(text) {
  await navigator.clipboard.writeText(text);
}

/** A link to a route. */
export function Link({ to, class: className, children, current, tabindex }) {
  const onClick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(to);
  };
  return html`<a href=${formatRoute(to)} class=${className} tabindex=${tabindex} aria-current=${current ? "page" : null} onClick=${onClick}>${children}</a>`;
}

/** A figure with its label. */
export const Figure = ({ label, children, note, bad }) =>
  html`<div class=${classes("figure", bad && "bad")}><dt>${label}</dt><dd>${children}${note && html`<small>${note}</small>`}</dd></div>`;

/** A plain table. `columns` are {label, cell(row), number}. */
export const Table = ({ label, columns, rows, empty }) =>
  rows.length === 0
    ? html`<p class="muted">${empty}</p>`
    : html`<div class="table-wrap" tabindex="0" role="region" aria-label=${label}><table>
        <caption class="sr">${label}</caption>
        <thead><tr>${columns.map((column) => html`<th scope="col" class=${column.number ? "number" : ""}>${column.label}</th>`)}</tr></thead>
        <tbody>${rows.map((row) => html`<tr>${columns.map((column) => html`<td class=${column.number ? "number" : ""}>${column.cell(row)}</td>`)}</tr>`)}</tbody>
      </table></div>`;

/** What is shown while an answer is computed, and when the server refuses it. */
export function Slow({ answer, what, children }) {
  const { data, error, reload } = answer;
  if (error) return html`<${ErrorBox} error=${error} />`;
  if (!data || data.state === "working") return html`<p class="muted" role="status">${what}${data ? ` ${Math.round(data.seconds)} s` : ""}</p>`;
  if (data.state === "refused") return html`<${ErrorBox} error=${{ status: -1, message: data.error, hint: data.hint }} />`;
  return html`${data.is_older && html`<p class="note">${t("The run has written more since then.")} <button class="small" onClick=${reload}>${t("Load again")}</button></p>`}${children(data.result)}`;
}

/** Buttons of which one is chosen; one tab stop, arrows move. `options` are {value, label}. */
export function Choice({ label, options, value, onChange }) {
  const onKeyDown = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const index = options.findIndex((option) => option.value === value);
    const next = options[(Math.max(0, index) + step + options.length) % options.length];
    const buttons = event.currentTarget.querySelectorAll("button");
    buttons[options.indexOf(next)].focus();
    onChange(next.value);
  };
  const chosen = options.some((option) => option.value === value) ? value : options[0]?.value;
  return html`<div class="choice" role="radiogroup" aria-label=${label} onKeyDown=${onKeyDown}>
    ${options.map((option) => html`<button role="radio" aria-checked=${option.value === value ? "true" : "false"} class=${option.className}
      tabindex=${option.value === chosen ? 0 : -1} onClick=${() => onChange(option.value)}>${option.label}</button>`)}
  </div>`;
}

/** Escape leaves a field; without this, browsers would also empty a search field. */
export function leaveField(event) {
  if (event.key !== "Escape") return;
  event.preventDefault();
  event.target.blur();
}
