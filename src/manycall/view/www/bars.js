// Histograms and counts of values as bars that filter. Each group is one tab stop; arrows move between its bars.
import { html, useState } from "./dom.js";
import { t } from "./words.js";
import { count, measure } from "./format.js";
import { asText, Line } from "./text.js";

/** A group of bars. `bars` are {label, count, where}; `onPick(where)` gets the filter of a bar. */
function Bars({ label, bars, onPick, className, children }) {
  const [active, setActive] = useState(0);
  const onKeyDown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(bars.length - 1, active + step));
    setActive(next);
    event.currentTarget.querySelectorAll("button")[next].focus();
  };
  return html`<div class=${className} role="toolbar" aria-label=${label} onKeyDown=${onKeyDown}>
    ${bars.map((bar, index) => children(bar, { tabindex: index === active ? 0 : -1, onFocus: () => setActive(index), onClick: () => onPick(bar.where) }))}
  </div>`;
}

/** A histogram of a numeric column, from {field, edges, counts}. */
export function Histogram({ data, title, onPick }) {
  const largest = Math.max(1, ...data.counts);
  const bars = data.counts.map((value, index) => {
    const [from, to] = [data.edges[index], data.edges[index + 1]];
    const isLast = index === data.counts.length - 1;
    const where = `${quoteName(data.field)} >= ${from} and ${quoteName(data.field)} ${isLast ? "<=" : "<"} ${to}`;
    return { count: value, where, label: `${measure(from)}–${measure(to)}: ${count(value)}`, height: value ? Math.max(4, (value / largest) * 100) : 0 };
  });
  return html`<figure class="histogram">
    <figcaption>${title}${data.partial && html` <small class="muted">${t("(part of the rows)")}</small>`}</figcaption>
    <${Bars} label=${title} bars=${bars} onPick=${onPick} className="columns">
      ${(bar, props) => html`<button class="column" title=${bar.label} aria-label=${bar.label} ...${props}>
        <span style=${{ height: `${bar.height}%` }}></span></button>`}
    <//>
    <div class="axis" aria-hidden="true"><span>${measure(data.edges[0])}</span><span>${measure(data.edges.at(-1))}</span></div>
  </figure>`;
}

/** Counts of the values of a column, from {field, values, others, missing}. */
export function Facet({ data, title, onPick, limit = 6 }) {
  const [all, setAll] = useState(false);
  const name = quoteName(data.field);
  const bars = data.values.map(({ value, count: number }) => ({ label: asText(value), count: number, where: `${name} = ${quoteValue(value)}` }));
  if (data.missing) bars.push({ label: t("(missing)"), count: data.missing, where: `${name} = null` });
  const shown = all ? bars : bars.slice(0, limit);
  const largest = Math.max(1, ...bars.map((bar) => bar.count));
  return html`<figure class="histogram">
    <figcaption>${title}</figcaption>
    <${Bars} label=${title} bars=${shown} onPick=${onPick} className="facet">
      ${(bar, props) => html`<button class="facet-bar" ...${props}>
        <span class="facet-label"><${Line} value=${bar.label === "" ? t("(empty)") : bar.label} /></span>
        <span class="facet-count">${count(bar.count)}</span>
        <span class="facet-fill" aria-hidden="true"><span style=${{ width: `${(bar.count / largest) * 100}%` }}></span></span></button>`}
    <//>
    ${bars.length > limit && html`<button class="small" onClick=${() => setAll(!all)}>${all ? t("fewer") : t("all {n}", { n: count(bars.length + (data.others || 0)) })}</button>`}
  </figure>`;
}

/** Return a column's name as the filter language writes it. */
export const quoteName = (name) => (/^[\w.#-]+$/.test(name) && !/^(and|or|not|true|false|null)$/.test(name) ? name : quoteText(name));

/** Return a value as the filter language writes it. */
export function quoteValue(value) {
  if (value === null) return "null";
  return typeof value === "string" ? quoteText(value) : String(value);
}

const quoteText = (text) => `"${String(text).replace(/[\\"]/g, "\\$&")}"`;
