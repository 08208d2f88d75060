/** Matrix, comparison, timeline and replay in the page: what the command line prints, and the way from them to a walk. */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chainwalk } from "../cli/commandLine.ts";
import { hasBrowser, PageUnderTest } from "./browser.ts";

describe.runIf(hasBrowser())("reports in the page", () => {
  let under: PageUnderTest;
  let page: Page;

  beforeAll(async () => {
    under = await PageUnderTest.start();
    page = await under.open("");
    await page.locator("#verdict").waitFor();
  });
  afterAll(async () => {
    await under.end();
  });

  const tab = (name: string) => page.locator(".tabs button", { hasText: name }).click();
  const open = async (scenario: string) => {
    await tab("Walk");
    await page.locator("#scenario").selectOption(scenario);
    await page.locator("#verdict").waitFor();
  };
  const report = async () => {
    const text = (await page.locator(".report .text").last().textContent()) ?? "";
    return text.split("\n").map((line) => line.trimEnd());
  };
  const printed = async (command: string) =>
    (await chainwalk(command)).out
      .trimEnd()
      .split("\n")
      .map((line) => line.trimEnd());

  it("a cell of the matrix, reached by the keyboard, says what matrix prints and opens its walk", async () => {
    await open("db-policy");
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

  it("compare writes what the command line writes", async () => {
    await open("and-or-peers");
    await tab("Compare");
    await page.locator(".report .text").waitFor();
    const shown = await report();
    expect(shown.length).toBeGreaterThan(3);
    expect(shown).toEqual(await printed("compare -f scenarios/and-or-peers/cluster.yaml -s all"));
  });

  it("timeline writes what the command line writes, and a leak is walked where packets meet it", async () => {
    await open("rule-in-front");
    await tab("Timeline");
    await page.locator("#scrubber").waitFor();
    expect(await report()).toEqual(await printed("timeline -f scenarios/rule-in-front --node node-a"));
    await page.locator("#scrubber").focus();
    await page.keyboard.press("ArrowRight");
    await page.locator("li", { hasText: "leak" }).getByText("walk it here").click();
    await expect.poll(() => page.locator(".packet-line").textContent()).toContain("(prod/c) >");
    await expect.poll(() => page.locator("#verdict").textContent()).toBe("accept");
  });

  it("replay writes what the command line writes", async () => {
    await open("recorded-shop");
    await tab("Replay");
    await page.locator(".report input[type=file]").setInputFiles("scenarios/recorded-shop/shop.pcap");
    await page.locator(".report .text").waitFor();
    const shown = await report();
    expect(shown.length).toBeGreaterThan(3);
    const all = await printed("replay scenarios/recorded-shop/shop.pcap -f scenarios/recorded-shop");
    expect(shown.filter((line) => line !== "")).toEqual(all.filter((line) => line !== ""));
  });

  it("nothing was said on the console, and nobody else was asked", () => {
    expect(under.trouble).toEqual({ console: [], foreign: [] });
  });
});
