/** Matrix, comparison, timeline and replay in the page: what the command line prints, and the way from them to a walk. */
import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { encodeState } from "../../web/share.ts";
import { chainwalk } from "../cli/commandLine.ts";
import { isWhole } from "../extent.ts";

declare const location: { hash: string };

/** Without the blanks at the ends of lines, which a browser does not keep. */
export function trimmed(text: string): readonly string[] {
  return text.split("\n").map((line) => line.trimEnd());
}

export async function shownReport(page: Page): Promise<readonly string[]> {
  return trimmed((await page.locator(".report .text").last().textContent()) ?? "");
}

/** Tests of the reports, on a page that others use as well. */
export function testReports(opened: () => Page): void {
  const tab = (name: string) => opened().locator(".tabs button", { hasText: name }).click();
  const open = async (scenario: string) => {
    const page = opened();
    await tab("Walk");
    await page.locator("#scenario").selectOption(scenario);
    await page.locator("#strategy").selectOption("kube-router");
    await page.locator("#verdict").waitFor();
    return page;
  };
  const printed = async (command: string) => trimmed((await chainwalk(command)).out.trimEnd());

  it("a cell of the matrix, reached by the keyboard, says what matrix prints and opens its walk", async () => {
    const page = await open("db-policy");
    const { out } = await chainwalk("matrix -f scenarios/db-policy/cluster.yaml --port tcp/3306 -o json");
    const { pods, verdicts } = JSON.parse(out) as {
      readonly pods: readonly string[];
      readonly verdicts: Readonly<Record<string, readonly string[]>>;
    };
    const [row, column] = [pods.indexOf("default/intruder"), pods.indexOf("default/db")];
    expect(verdicts["tcp/3306"]?.[row]?.[column]).toBe("R");
    await tab("Matrix");
    await page.locator("#matrix-port").selectOption("tcp/3306");
    await page.locator(".matrix-box").focus();
    for (let step = 0; step < row; step++) await page.keyboard.press("ArrowDown");
    for (let step = 0; step < column; step++) await page.keyboard.press("ArrowRight");
    await expect
      .poll(async () => (await page.locator("#matrix-cell").textContent())?.trim())
      .toBe("default/intruder > default/db reject");
    await page.keyboard.press("Enter");
    await expect.poll(() => page.locator("#verdict").textContent()).toBe("reject");
    expect(await page.locator(".packet-line").textContent()).toContain("(default/intruder) >");
  });

  it("compare writes what the command line writes of the strategies that are ticked", async () => {
    const page = await open("and-or-peers");
    // A sample comes by a link with three of them: each that is unticked costs the worker its life and its start.
    const names = STRATEGIES.map(({ name }) => name).slice(0, isWhole ? undefined : 3);
    const kept = isWhole ? names : names.slice(0, 2);
    if (isWhole) await tab("Compare");
    else {
      const origin = { kind: "bundled", name: "and-or-peers" } as const;
      const hash = await encodeState({ version: 1, origin, view: "compare", compared: names });
      await page.evaluate((next) => {
        location.hash = next;
      }, hash);
    }
    await page.locator(".choices label").first().waitFor();
    const ticked = page.locator(".choices label", { has: page.locator("input:checked") });
    await expect.poll(() => ticked.count()).toBe(names.length);
    for (const name of names.slice(kept.length)) await page.locator(".choices label", { hasText: name }).uncheck();
    await page.locator(".report .text").waitFor();
    const shown = await shownReport(page);
    expect(shown.length).toBeGreaterThan(3);
    expect(shown).toEqual(await printed(`compare -f scenarios/and-or-peers/cluster.yaml -s ${kept.join(",")}`));
  });

  it("timeline writes what the command line writes, and a leak is walked where packets meet it", async () => {
    const page = await open("rule-in-front");
    await tab("Timeline");
    await page.locator("#scrubber").waitFor();
    expect(await shownReport(page)).toEqual(await printed("timeline -f scenarios/rule-in-front --node node-a"));
    await page.locator("#scrubber").focus();
    await page.keyboard.press("ArrowRight");
    await page.locator("li", { hasText: "leak" }).getByText("walk it here").click();
    await expect.poll(() => page.locator(".packet-line").textContent()).toContain("(prod/c) >");
    await expect.poll(() => page.locator("#verdict").textContent()).toBe("accept");
  });

  it("replay writes what the command line writes, of a change as well", async () => {
    const page = await open("recorded-shop");
    await tab("Replay");
    const command = "replay scenarios/recorded-shop/shop.pcap -f scenarios/recorded-shop";
    const filled = (lines: readonly string[]) => lines.filter((line) => line !== "");
    await page.locator("#recording").setInputFiles("scenarios/recorded-shop/shop.pcap");
    await page.locator(".report .text").waitFor();
    const shown = filled(await shownReport(page));
    expect(shown.length).toBeGreaterThan(3);
    expect(shown).toEqual(filled(await printed(command)));
    // A whole cluster, which has no policy.
    const [before, name] = ["scenarios/recorded-shop/cluster.yaml", "cluster.yaml"];
    await page.locator("#before").setInputFiles(before);
    await page.locator(".over", { hasText: name }).waitFor();
    await page.locator(".report .text", { hasText: "the change refuses" }).waitFor();
    expect(filled(await shownReport(page))).toEqual(filled(await printed(`${command} --before ${before}`)));
  });
}
