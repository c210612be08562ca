// The words of the page. English texts are in the components, as arguments of t(); other languages are tables,
// which are loaded when they are needed.
const STORED_LANGUAGE = "manycall.language";
const TABLES = { en: {} };
const SENTENCES = { en: [] };
const MAX_SENTENCE = 600;
const KNOWN = ["en", "zh"];
let current = localStorage.getItem(STORED_LANGUAGE) || (/^zh\b/i.test(navigator.language) ? "zh" : "en");
document.documentElement.lang = current;

/** Return the language of the page: "en" or "zh". */
export const language = () => current;

/** Add the texts of a language, by their English texts, and the sentences of the server as [pattern, text]. */
export function addWords(name, table, sentences) {
  TABLES[name] = table;
  SENTENCES[name] = sentences.map(([pattern, text]) => [new RegExp(`^${pattern}$`), text]);
}

/** Set the language of the page and remember it. */
export function setLanguage(name) {
  current = KNOWN.includes(name) ? name : "en";
  localStorage.setItem(STORED_LANGUAGE, current);
  document.documentElement.lang = current;
}

/** Return the text in the language of the page, with {name} replaced by the value of that name. */
export function t(text, values = {}) {
  const translated = TABLES[current]?.[text] ?? text;
  return translated.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Return a sentence of the server in the language of the page: $1 is what the first group matched. An unknown one stays as it is. */
export function say(sentence) {
  const text = String(sentence ?? "");
  if (text.length > MAX_SENTENCE) return text;
  for (const [pattern, translated] of SENTENCES[current]) {
    const groups = pattern.exec(text);
    if (groups) return translated.replace(/\$(\d)/g, (_, number) => say(groups[number]));
  }
  return text;
}
