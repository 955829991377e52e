// Looks at every page of the console as operators do, and prints what it found as JSON: ConsolePageTests says what that must be.
// node visit.mjs '{"chromium":…,"port":…,"token":…,"client":…,"folder":…,"issuer":…,"basic":…}'
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const given = JSON.parse(process.argv[2]);
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// By this name the console asks for a token; as 127.0.0.1 it does not, in Development.
const away = `http://console.test:${given.port}/console`;
const here = `http://127.0.0.1:${given.port}/console`;
const sizes = { wide: { width: 1280, height: 800 }, phone: { width: 360, height: 740 } };
const paths = [
  ['overview', ''],
  ['clients', '/clients'],
  ['clients-unused', '/clients?show=unused'],
  ['client', `/client?id=${encodeURIComponent(given.client)}`],
  ['keys', '/keys'],
  ['refusals', '/refusals'],
  ['token', '/token'],
  ['not-found', '/nothing'],
];

const found = { visits: [], errors: [], dialogs: 0 };
const browser = await chromium.launch({
  executablePath: given.chromium,
  args: ['--no-sandbox', '--host-resolver-rules=MAP console.test 127.0.0.1'],
});

// What Chromium says of every answer that is no success, the ones that are meant included.
const isMeant = message => /the server responded with a status of (401|403|404)/.test(message);

async function open(options) {
  const context = await browser.newContext({ viewport: sizes.wide, ...options });
  const page = await context.newPage();
  page.on('console', message => message.type() === 'error' && !isMeant(message.text()) && found.errors.push(`${page.url()}: ${message.text()}`));
  page.on('pageerror', error => found.errors.push(`${page.url()}: ${error}`));
  page.on('dialog', dialog => {
    found.dialogs++;
    dialog.dismiss();
  });
  return page;
}

async function look(page, name) {
  await page.screenshot({ path: `${given.folder}/${name}.png`, fullPage: true });
  if (!await page.evaluate(() => 'axe' in window)) {
    await page.evaluate(axe);
  }

  found.visits.push({
    name,
    title: await page.title(),
    text: await page.locator('main').innerText(),
    scrolls: await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth),
    faults: (await page.evaluate(() => window.axe.run())).violations.map(fault => `${fault.impact} ${fault.id}: ${fault.nodes[0].html}`),
  });
}

const focused = page => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim());

async function tab(page, times) {
  const way = [];
  for (let i = 0; i < times; i++) {
    await page.keyboard.press('Tab');
    way.push(await focused(page));
  }

  return way;
}

async function signIn(page) {
  await page.goto(away);
  await page.fill('#token', given.token);
  await page.keyboard.press('Enter');
  await page.waitForSelector('[aria-current]');
}

// By keyboard alone: to the form, in, to the decoder, a token pasted, verified, and out again.
const keys = await open();
const refused = await keys.goto(away);
found.keyboard = { status: refused.status(), toForm: await tab(keys, 2) };
await keys.keyboard.insertText(given.token);
await keys.keyboard.press('Enter');
await keys.waitForSelector('[aria-current]');
found.keyboard.heading = await keys.locator('h1').innerText();
found.keyboard.cookies = await keys.context().cookies();
found.keyboard.toDecoder = await tab(keys, 6);
found.keyboard.outline = await keys.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
await keys.keyboard.press('Enter');
await keys.waitForURL(`${away}/token`);
await keys.focus('#token');
await keys.keyboard.insertText(given.token);
await keys.keyboard.press('Tab');
await keys.keyboard.press('Enter');
await keys.waitForSelector('#verdict');
found.keyboard.verdict = await keys.locator('#verdict').innerText();
found.keyboard.url = keys.url();
await look(keys, 'decoded');
await keys.setViewportSize(sizes.phone);
await keys.emulateMedia({ colorScheme: 'dark' });
await look(keys, 'decoded-phone-dark');
await keys.fill('#token', `${given.token.slice(0, -8)}AAAAAAAA`);
await keys.click('text=Decode and verify');
await keys.waitForSelector('.notice.bad');
await look(keys, 'decoded-bad');
await keys.click('text=Sign out');
await keys.waitForSelector('text=How to get a token');
found.keyboard.left = (await keys.context().cookies()).length;

await Promise.all(['light', 'dark'].map(async colorScheme => {
  const page = await open({ colorScheme });
  await page.goto(away);
  for (const [size, viewport] of Object.entries(sizes)) {
    await page.setViewportSize(viewport);
    await look(page, `sign-in-${size}-${colorScheme}`);
  }

  await signIn(page);
  for (const [name, path] of paths) {
    await page.goto(away + path);
    for (const [size, viewport] of Object.entries(sizes)) {
      await page.setViewportSize(viewport);
      await look(page, `${name}-${size}-${colorScheme}`);
    }
  }
}));

// The chart goes on by itself.
const live = await open();
await live.goto(here);
await live.waitForSelector('[data-live]:not([hidden])');
const [issued, bar] = [live.locator('[data-sum="issued"]'), live.locator('rect.issued').last()];
found.live = { before: [await issued.innerText(), await bar.getAttribute('height')] };
const answer = await fetch(`${given.issuer}/oauth2/token`, {
  method: 'POST',
  headers: { authorization: `Basic ${btoa(given.basic)}` },
  body: new URLSearchParams({ grant_type: 'client_credentials' }),
});
found.live.status = answer.status;
await live.waitForFunction(before => document.querySelector('[data-sum="issued"]').textContent !== before, found.live.before[0]);
found.live.after = [await issued.innerText(), await bar.getAttribute('height')];
found.live.word = await live.locator('[data-live]').innerText();

// Without JavaScript.
const plain = await open({ javaScriptEnabled: false });
await signIn(plain);
found.plain = {
  heading: await plain.locator('h1').innerText(),
  issued: await plain.locator('[data-sum="issued"]').innerText(),
  bars: await plain.locator('rect.issued').count(),
  live: await plain.locator('[data-live]').isVisible(),
};
await plain.getByRole('link', { name: 'Token', exact: true }).click();
await plain.fill('#token', given.token);
await plain.click('text=Decode and verify');
found.plain.verdict = await plain.locator('#verdict').innerText();

// A page of somebody else has a form that leads here.
const other = await open();
await other.route('http://evil.test/**', route => route.fulfill({
  contentType: 'text/html',
  body: `<form method="post" action="${here}/token"><input name="token" value="x"></form><script>document.forms[0].submit()</script>`,
}));
await other.goto('http://evil.test/', { waitUntil: 'commit' });
await other.waitForURL(`${here}/token`);
found.foreign = await other.locator('h1').innerText();

await browser.close();
console.log(JSON.stringify(found));
