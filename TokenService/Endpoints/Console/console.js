// Keeps the chart of the overview up to date. Without it the chart is as it was when the page was made.
'use strict';

const height = 100;
const interval = 2000;
const chart = document.querySelector('svg.activity');

const sum = counts => counts.reduce((total, count) => total + count, 0);

function draw(activity) {
  const [issued, refused] = ['issued', 'refused'].map(name => chart.querySelectorAll(`rect.${name}`));
  activity.issued.forEach((count, i) => {
    const [low, high] = [count, activity.refused[i]].map(value => height * value / activity.top);
    place(issued[i], height - low, low);
    place(refused[i], height - low - high, high);
  });
  document.querySelector('[data-top]').textContent = activity.top;
  for (const name of ['issued', 'refused']) {
    document.querySelector(`[data-sum="${name}"]`).textContent = sum(activity[name]);
  }

  const perHour = 3600 / activity.period_seconds;
  for (const row of document.querySelectorAll('[data-hour]')) {
    const end = activity.issued.length - perHour * row.dataset.hour;
    ['issued', 'refused'].forEach((name, i) => {
      row.querySelectorAll('td')[i].textContent = sum(activity[name].slice(end - perHour, end));
    });
  }
}

function place(bar, y, size) {
  bar.setAttribute('y', y);
  bar.setAttribute('height', size);
}

async function refresh() {
  const live = document.querySelector('[data-live]');
  try {
    if (!document.hidden) {
      const answer = await fetch('/console/activity.json', { cache: 'no-store' });
      if (answer.status === 401 || answer.status === 403) {
        live.textContent = 'Not live: the token has ended';
        return;
      }

      if (!answer.ok) {
        throw new Error(answer.status);
      }

      draw(await answer.json());
      live.textContent = 'Live';
    }
  } catch {
    live.textContent = 'Not live: the service does not answer';
  }

  live.hidden = false;
  setTimeout(refresh, interval);
}

if (chart) {
  refresh();
}
