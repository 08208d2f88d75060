/** Workflow commands of GitHub Actions, which it shows at a line of a file in a pull request. */

export interface Annotation {
  readonly file: string;
  readonly line: number;
  readonly title: string;
  readonly message: string;
}

/** docs.github.com, "Workflow commands for GitHub Actions"; escapes as its toolkit writes them. */
export function workflowCommand(
  level: "error" | "warning" | "notice",
  { file, line, title, message }: Annotation,
): string {
  const place = line > 0 ? `file=${property(file)},line=${line},` : "";
  return `::${level} ${place}title=${property(title)}::${data(message)}`;
}

function data(text: string): string {
  return text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function property(text: string): string {
  return data(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
}
