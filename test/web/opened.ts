/** `--open`: the address that a command prints shows what the command prints. */
import { relative } from "node:path";
import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { ROOT } from "../built.ts";
import { chainwalk, type Outcome } from "../cli/commandLine.ts";
import { sampled } from "../extent.ts";
import { type PageUnderTest, verdictOn } from "./browser.ts";
import { shownReport, trimmed } from "./reports.ts";

interface Case {
  readonly command: string;
  /** What the page shows of it, to be found in what the command prints. */
  readonly isSame: (page: Page, outcome: () => Promise<Outcome>) => Promise<void>;
}

const sameReport: Case["isSame"] = async (page, outcome) => {
  await page.locator(".report .text").waitFor();
  const shown = await shownReport(page);
  expect(shown.length).toBeGreaterThan(3);
  expect(shown).toEqual(trimmed((await outcome()).out.trimEnd()));
};

const sameAnswer: Case["isSame"] = async (page, outcome) => {
  await page.locator("#decision").waitFor();
  const shown = [await page.locator(".packet-line").textContent(), await verdictOn(page)].map((text) => text?.trim());
  const decision = (await page.locator("#decision").textContent()) ?? "nothing";
  const { out } = await outcome();
  const verdict = /^(accept|drop|reject): /m.exec(out)?.[1];
  expect(shown).toEqual([out.split("\n")[0]?.trim(), verdict]);
  expect(out).toContain(decision);
};

const CASES: readonly Case[] = [
  {
    command: "trace -f scenarios/db-policy --from intruder --to db --port 3306 -s calico-iptables",
    isSame: sameAnswer,
  },
  {
    command: "timeline -f scenarios/rule-in-front --node node-a",
    isSame: sameReport,
  },
  {
    command: "compare -f scenarios/end-port/cluster.yaml -s kube-router,romana",
    isSame: sameReport,
  },
  {
    command: "matrix -f scenarios/db-policy --port tcp/3307 -s cilium-ebpf -o json",
    isSame: async (page, outcome) => {
      await page.locator(".matrix-box").focus();
      await page.keyboard.press("ArrowDown");
      await expect.poll(() => page.locator("#matrix-cell b").count()).toBe(1);
      const [verdict, who] = await Promise.all([
        page.locator("#matrix-cell b").textContent(),
        page.locator("#matrix-cell code").textContent(),
      ]);
      expect(await page.locator("#matrix-port").inputValue()).toBe("tcp/3307");
      const { pods, verdicts } = JSON.parse((await outcome()).out) as {
        readonly pods: readonly string[];
        readonly verdicts: Readonly<Record<string, readonly string[]>>;
      };
      expect(who).toBe(`${pods[1]} > ${pods[0]}`);
      const letter = verdicts["tcp/3307"]?.[1]?.[0] ?? "";
      expect(verdict).toBe({ ".": "accept", X: "drop", R: "reject" }[letter]);
    },
  },
  {
    command: "trace -f scenarios/rule-in-front --from prod/c --to prod/a --at 1.1",
    isSame: sameAnswer,
  },
  {
    command: "trace -f scenarios/db-policy --packets scenarios/db-policy/scenario.yaml -o table",
    isSame: async (page, outcome) => {
      await page.locator("[data-step]").first().waitFor();
      const verdict = (await verdictOn(page)) ?? "nothing";
      const { out } = await outcome();
      expect(out.split("\n").find((line) => /^\s*1\s/.test(line))).toContain(verdict);
    },
  },
];

/** In browsers of their own: each page has a server of its own, on another port. */
export function testOpened(opened: () => PageUnderTest): void {
  it.each(sampled(CASES, 2))("$command --open shows what it prints", async ({ command, isSame }) => {
    const ended = new AbortController();
    let running: Promise<Outcome> | undefined;
    const link = await new Promise<string>((resolve, reject) => {
      running = chainwalk(`${command} --open`, {
        page: relative(ROOT, opened().folder),
        interrupted: ended.signal,
        opened: (address) => {
          resolve(address);
          return undefined;
        },
      });
      // A command that ends before it opens anything says why.
      running.then(({ err }) => reject(new Error(err)), reject);
    });
    const page = await opened().open(link);
    const outcome = async () => {
      ended.abort();
      return running ?? Promise.reject(new Error("it never ran"));
    };
    await isSame(page, outcome);
    const { err } = await outcome();
    expect(err).toContain(`${link}\n`);
    await page.context().close();
  });
}
