/** One file of HTML that needs nothing else: style inside, the data beside the text. */

export interface HtmlPage {
  readonly title: string;
  /** Elements, line by line; texts in them are escaped. */
  readonly body: readonly string[];
  /** For whoever reads the page with a program: the element `data`. */
  readonly data: unknown;
  /** Rules of style beside those that all pages have. */
  readonly style?: readonly string[];
}

const STYLE = [
  "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem}",
  "table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #8884;padding:.3rem .6rem;text-align:left;vertical-align:top}",
  "caption{text-align:left;font-weight:600}.walks{display:flex;gap:2rem;overflow-x:auto}pre{font-size:13px}",
  ".accept{color:#176f2c}.drop,.reject{color:#b3261e}",
  "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}.accept{color:#7ddc8f}.drop,.reject{color:#ff8a80}}",
];

export function htmlPage({ title, body, data, style = [] }: HtmlPage): readonly string[] {
  // "<" is escaped in the data too: a name cannot end the script element.
  const json = JSON.stringify(data).replaceAll("<", "\\u003c");
  return [
    "<!doctype html>",
    `<html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title><style>`,
    ...STYLE,
    ...style,
    "</style></head><body>",
    ...body,
    `<script type="application/json" id="data">${json}</script>`,
    "</body></html>",
  ];
}

export function htmlRow(tag: "td" | "th", cells: readonly string[]): string {
  return `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
}

export function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
