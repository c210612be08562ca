// A judged run: what did the judge say, and how far can it be trusted?
import { html } from "./dom.js";
import { t } from "./words.js";
import { count, percent, pValue, score } from "./format.js";
import { go } from "./route.js";
import { useSlow } from "./load.js";
import { Line, Text } from "./text.js";
import { quoteName, quoteValue } from "./bars.js";
import { Figure, Slow, Table } from "./parts.js";
import { RowsBody } from "./rows.js";

export function JudgePage({ route, runState }) {
  const answer = useSlow(`runs/${route.run}/judge`);
  const pick = (where) => go({ ...route, params: { ...route.params, where, at: "" } });
  return html`<section class="page scroll" aria-labelledby="title">
    <h1 id="title" tabindex="-1">${t("Judge")}</h1>
    <${Slow} answer=${answer} what=${t("Reading the verdicts …")}>${(result) => html`<${Result} result=${result} onPick=${pick} />`}<//>
    <h2>${t("Rows")}</h2>
    <${RowsBody} route=${route} runState=${runState} isShort />
  </section>`;
}

const range = (interval) => (interval ? `${percent(interval[0])} – ${percent(interval[1])}` : "");

function Result({ result, onPick }) {
  const { score: mean, self_agreement: agreement, position_bias: bias, pairwise } = result;
  const field = `${result.output_field}.verdict`;
  const columns = [
    { label: t("Verdict"), cell: (each) => html`<button class="link" onClick=${() => onPick(`${quoteName(field)} = ${quoteValue(each.verdict)}`)}><${Line} value=${each.verdict} /></button>` },
    { label: t("Rows"), number: true, cell: (each) => count(each.count) },
    { label: t("Share"), number: true, cell: (each) => percent(each.share) },
    { label: t("95 % interval"), number: true, cell: (each) => range(each.interval) },
    { label: html`<span class="sr">${t("Share")}</span>`, cell: (each) => html`<span class="interval" aria-hidden="true"><span class="bar" style=${{ width: `${each.share * 100}%` }}></span>
      ${each.interval && html`<span class="whisker" style=${{ left: `${each.interval[0] * 100}%`, width: `${(each.interval[1] - each.interval[0]) * 100}%` }}></span>`}</span>` },
  ];
  return html`<dl class="figures">
      ${mean && html`<${Figure} label=${t("mean verdict")} note=${mean.interval ? `[${mean.interval.map(score).join(", ")}]` : ""}>${score(mean.value)}<//>`}
      ${pairwise && html`<${Figure} label=${t("wins · losses · ties")} note=${`p ${pValue(pairwise.p_value)}`}>${[pairwise.wins, pairwise.losses, pairwise.ties].map(count).join(" · ")}<//>`}
      ${agreement && html`<${Figure} label=${t("agreement with itself")} note=${t("kappa {kappa}, {n} questions", { kappa: score(agreement.kappa), n: count(agreement.questions) })}>${percent(agreement.value)}<//>`}
      <${Figure} label=${t("asked again")}>${count(result.reasked_rows)}<//>
    </dl>
    <${Table} label=${t("Verdicts")} columns=${columns} rows=${result.verdicts} empty=${t("There is no verdict yet.")} />
    ${bias && html`<${PositionBias} bias=${bias} onPick=${onPick} />`}
    ${result.rubric && html`<details class="panel"><summary>${t("Rubric")}</summary><${Text} value=${result.rubric} /></details>`}`;
}

/** Whether the judge prefers the answer that it sees first. */
function PositionBias({ bias }) {
  const share = bias.both ? bias.consistent / bias.both : null;
  const isBiased = bias.p_value !== null && bias.p_value < 0.05;
  return html`<section class="panel"><h2>${t("Influence of the order")}</h2>
    <p>${t("{n} questions were judged in both orders. {share} have the same verdict in both.", { n: count(bias.both), share: percent(share) })}
      ${" "}${t("In the others, the judge chose the first answer {first} times and the second {second} times (p {p}).", { first: count(bias.first), second: count(bias.second), p: pValue(bias.p_value) })}</p>
    <p><strong class=${isBiased ? "warn" : "good"}>${isBiased ? t("The order influences this judge.") : t("There is no sign that the order influences this judge.")}</strong></p></section>`;
}
