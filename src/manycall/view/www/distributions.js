// How the rows of a view are distributed: endings, scores, lengths. A bar filters.
import { html, useState } from "./dom.js";
import { t } from "./words.js";
import { useData } from "./load.js";
import { columnWord } from "./columns.js";
import { Facet, Histogram } from "./bars.js";

const MAX_GROUPS = 6;
const PARTIAL_MS = 700;
const STORED = "manycall.distributions";

/** Return the groups that say most about a file, as {kind, field}. */
export function groupsOf(all) {
  const columns = all.filter(({ name }) => name !== "ending" && !name.endsWith(".len") && !name.startsWith("row.")); // These stand for other fields.
  const facets = columns.filter(({ role, type }) => role === "ending" || (role === "" && ["category", "boolean"].includes(type)));
  const scores = columns.filter(({ role }) => role === "score");
  const lengths = columns.some(({ role }) => role === "answer") ? [{ kind: "histogram", field: "answer.len" }] : [];
  const numbers = columns.filter(({ role, type }) => role === "" && type === "number");
  const verdicts = columns.filter(({ role }) => role === "verdict");
  return [
    ...verdicts.map(({ name }) => ({ kind: "facet", field: name })),
    ...scores.map(({ name }) => ({ kind: "facet", field: name })),
    ...facets.map(({ name }) => ({ kind: "facet", field: name })),
    ...lengths,
    ...numbers.map(({ name }) => ({ kind: "histogram", field: name })),
  ].slice(0, MAX_GROUPS);
}

/** All groups of a file, folded away if the user prefers. */
export function Distributions({ run, columns, view, onPick, round }) {
  const [isOpen, setOpen] = useState(localStorage.getItem(STORED) !== "closed");
  const groups = groupsOf(columns);
  if (!groups.length) return null;
  const toggle = (event) => {
    setOpen(event.currentTarget.open);
    localStorage.setItem(STORED, event.currentTarget.open ? "open" : "closed");
  };
  return html`<details class="distributions" open=${isOpen} onToggle=${toggle}><summary>${t("Distributions")}</summary>
    ${isOpen && html`<div class="histograms">${groups.map((group) => html`<${Group} key=${group.field} run=${run} group=${group} view=${view} onPick=${onPick} round=${round} />`)}</div>`}
  </details>`;
}

/** One facet or histogram, loaded by itself. */
export function Group({ run, group, view, onPick, round = "" }) {
  const isFacet = group.kind === "facet";
  const path = `runs/${run}/${isFacet ? "facets" : "histogram"}`;
  const { data, error } = useData(path, { field: group.field, bins: isFacet ? "" : 20, file: view.file, where: view.where, round: round ? 1 : "" }, (reply) => (reply.partial ? PARTIAL_MS : 0));
  const title = columnWord(group.field);
  if (error) return null;
  if (!data) return html`<figure class="histogram"><figcaption>${title}</figcaption></figure>`;
  if (isFacet && data.values.length > 5 && data.values[0].count === 1) return null; // Each value is there once.
  if (isFacet) return data.values.length + (data.missing ? 1 : 0) > 0 && html`<${Facet} data=${data} title=${title} onPick=${onPick} />`;
  return data.counts.length > 0 && html`<${Histogram} data=${data} title=${title} onPick=${onPick} />`;
}
