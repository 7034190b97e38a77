// Headless Chromium, driven by JSON lines: see browser.py for the other end.
//
// In:  {call, page, do, args}      one command for a page; `call` numbers the answer
// Out: {call, ok} | {call, error}  its answer

import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [executablePath, userDataDir] = process.argv.slice(2);
const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];
const context = await chromium.launchPersistentContext(userDataDir, {
  executablePath,
  headless: true,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", ...quiet],
  viewport: { width: 1280, height: 800 },
});
context.setDefaultTimeout(15_000);

const pages = new Map();

async function open(name) {
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) page.complaints.push(message.text());
  });
  page.on("dialog", (dialog) => {
    page.complaints.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  pages.set(name, page);
}

/** From outside: `waitForFunction` evaluates inside of the page, which its policy forbids. */
async function wait(page, expression) {
  const deadline = Date.now() + 15_000;
  while (!(await page.evaluate(expression))) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${expression}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

const commands = {
  goto: (page, url) => page.goto(url).then(() => null),
  click: (page, selector) => page.click(selector),
  fill: (page, selector, text) => page.fill(selector, text),
  press: (page, selector, key) => page.press(selector, key),
  select: (page, selector, value) => page.selectOption(selector, value),
  resize: (page, width, height) => page.setViewportSize({ width, height }),
  dark: (page, dark) => page.emulateMedia({ colorScheme: dark ? "dark" : "light" }),
  wait,
  evaluate: (page, expression) => page.evaluate(expression),
  screenshot: (page, path) => page.screenshot({ path }).then(() => null),
  complaints: (page) => page.complaints,
  close: (page) => page.close(),
};

const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { call, page, do: verb, args } = JSON.parse(line);
  try {
    if (verb === "open") say({ call, ok: (await open(page)) ?? null });
    else say({ call, ok: (await commands[verb](pages.get(page), ...args)) ?? null });
  } catch (error) {
    say({ call, error: String(error.message ?? error) });
  }
}).on("close", async () => {
  await context.close();
  process.exit(0);
});
