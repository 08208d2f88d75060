/** Debian's Chromium on the page as vite builds it, served as `chainwalk serve` does. */
import { existsSync } from "node:fs";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { PageServer } from "../../cli/pageServer.ts";
import type { ManifestFile } from "../../compiler/manifest/parse.ts";
import { builtPage } from "./build.ts";

const CHROMIUM = "/usr/bin/chromium";

/** Whether there is a browser; said where not, and required in CI. */
export function hasBrowser(): boolean {
  if (existsSync(CHROMIUM)) return true;
  if (process.env.CI) throw new Error(`CI needs ${CHROMIUM} (apt-get install chromium)`);
  console.warn(`skipped: tests of the page: there is no ${CHROMIUM} (apt-get install chromium)`);
  return false;
}

/** What a page said or asked for that it should not have. */
export interface Trouble {
  readonly console: string[];
  readonly foreign: string[];
}

/** The browser and the server of a test file; `end` takes both away. */
export class PageUnderTest {
  readonly address: string;
  /** Of the build. */
  readonly folder: string;
  readonly trouble: Trouble = { console: [], foreign: [] };
  readonly #browser: Browser;
  readonly #server: PageServer;

  private constructor(
    browser: Browser,
    server: PageServer,
    { address, folder }: { readonly address: string; readonly folder: string },
  ) {
    this.#browser = browser;
    this.#server = server;
    this.address = address;
    this.folder = folder;
  }

  static async start(manifests?: () => readonly ManifestFile[]): Promise<PageUnderTest> {
    const folder = builtPage();
    const server = new PageServer(async () => ({ files: manifests?.() ?? [] }), folder);
    const address = await server.listen(0);
    // The sandbox of Chromium needs another user than root; what is opened here is ours.
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
    return new PageUnderTest(browser, server, { address, folder });
  }

  /** A new window, with everything it says or asks for watched. */
  async open(path: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await this.#browser.newContext({ viewport: { width: 1400, height: 1000 }, ...options });
    const page = await context.newPage();
    const start = /^(?:file|about|http):/.test(path) ? path : `${this.address}/${path}`;
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") this.trouble.console.push(message.text());
    });
    page.on("pageerror", (error) => this.trouble.console.push(String(error)));
    page.on("request", (request) => {
      const own = ["data:", "blob:", "file:", `${this.address}/`, `${new URL(start).origin}/`];
      const isOurs = own.some((each) => request.url().startsWith(each));
      if (!isOurs) this.trouble.foreign.push(request.url());
    });
    await page.goto(start);
    return page;
  }

  async end(): Promise<void> {
    await this.#browser.close();
    await this.#server.close();
  }
}

export function verdictOn(page: Page): Promise<string | null> {
  return page.locator("#verdict").textContent();
}

/** By the picker. */
export async function openScenario(page: Page, name: string): Promise<void> {
  const before = await page.locator("main").getAttribute("data-generation");
  await page.locator("#scenario").selectOption(name);
  // Until it is loaded, the steps are those of the scenario before.
  await page.locator(`main:not([data-generation="${before}"])`).waitFor();
  await page.locator("[data-step]").first().waitFor();
}
