// The pages for a static export: what pages.js exports, with static imports.
import { RunsPage } from "./runs.js";
import { LivePage } from "./live.js";
import { RowsPage } from "./rows.js";
import { RowPage } from "./row.js";
import { ComparePage } from "./compare.js";
import { JudgePage } from "./judge.js";
import { DataPage } from "./data.js";
import { CHINESE } from "./words_zh.js";

const PAGES = { runs: RunsPage, live: LivePage, rows: RowsPage, row: RowPage, compare: ComparePage, judge: JudgePage, data: DataPage };

/** Return the component of a page; unknown names are the list of runs. */
export const loadPage = async (name) => PAGES[name] || PAGES.runs;

/** Return the Chinese texts. */
export const loadChinese = async () => CHINESE;
