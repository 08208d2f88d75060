/**
 * A text that quotes files anybody may have written (comments of rules, what a parser found): control characters are
 * shown as `\x1b`, so that none reaches the terminal. Line ends and tabs stay.
 */
export function visible(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
