/** What a kernel said of random conversations, for machines that cannot ask theirs. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectTranscript, parseTranscript } from "./connectionTranscript.ts";

function recorded(protocol: "tcp" | "sctp"): string[] {
  const text = readFileSync(join(import.meta.dirname, "recorded", `${protocol}.txt`), "utf8");
  return text.split(/\n\n+/).filter((block) => /^[<>]/m.test(block));
}

describe("conversations recorded from Linux", () => {
  it.each([
    ["tcp", 120],
    ["sctp", 60],
  ] as const)("%s", (protocol, conversations) => {
    const blocks = recorded(protocol);
    expect(blocks).toHaveLength(conversations);
    let packets = 0;
    for (const block of blocks) {
      expectTranscript(block, { protocol });
      packets += parseTranscript(block, { protocol }).length;
    }
    expect(packets).toBeGreaterThan(10 * conversations);
  });
});
