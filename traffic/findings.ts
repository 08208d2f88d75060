/** What a reader finds beside packets: issues, records that are none, names, and sentences about the whole. */
import { MAX_ISSUES, MAX_NAMES, type TrafficIssue } from "./source.ts";

/** Reasons kept apart; a hostile file could invent more. */
const MAX_REASONS = 1000;
const OTHER_REASONS = "other reasons";

type Place = Pick<TrafficIssue, "offset" | "line">;

/** All lists are bounded, whatever the input holds. */
export class Findings {
  readonly issues: TrafficIssue[] = [];
  readonly notes: string[] = [];
  readonly skipped = new Map<string, number>();
  readonly names = new Map<string, string>();

  warn(place: Partial<Place>, message: string): void {
    this.#add({ severity: "warning", offset: place.offset, line: place.line, message });
  }

  /** The reading ends here. */
  fail(place: Partial<Place>, message: string): void {
    // The last word must not be lost among warnings.
    if (this.issues.length >= MAX_ISSUES) this.issues.pop();
    this.issues.push({ severity: "error", offset: place.offset, line: place.line, message });
  }

  skip(reason: string, count = 1): void {
    const known = this.skipped.has(reason) || this.skipped.size < MAX_REASONS;
    const key = known ? reason : OTHER_REASONS;
    this.skipped.set(key, (this.skipped.get(key) ?? 0) + count);
  }

  /** The first name of an address stands. */
  name(address: string, name: string): void {
    if (name !== "" && this.names.size < MAX_NAMES && !this.names.has(address)) this.names.set(address, name);
  }

  #add(issue: TrafficIssue): void {
    if (this.issues.length >= MAX_ISSUES) return;
    if (this.issues.length === MAX_ISSUES - 1) {
      this.issues.push({ ...issue, message: `${issue.message}; issues after this one are not kept` });
    } else {
      this.issues.push(issue);
    }
  }
}

/** `1 packet`, `2 packets`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
