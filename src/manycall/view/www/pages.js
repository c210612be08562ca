// The pages and the Chinese texts, each loaded when it is first needed.
const PAGES = {
  runs: async () => (await import("./runs.js")).RunsPage,
  live: async () => (await import("./live.js")).LivePage,
  rows: async () => (await import("./rows.js")).RowsPage,
  row: async () => (await import("./row.js")).RowPage,
  compare: async () => (await import("./compare.js")).ComparePage,
  judge: async () => (await import("./judge.js")).JudgePage,
  data: async () => (await import("./data.js")).DataPage,
};

/** Return the component of a page; unknown names are the list of runs. */
export const loadPage = (name) => (PAGES[name] || PAGES.runs)();

/** Return the Chinese texts and sentences. */
export async function loadChinese() {
  const { CHINESE, SENTENCES } = await import("./words_zh.js");
  return [CHINESE, SENTENCES];
}
