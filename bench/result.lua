-- What measure.py reads of a load; each script for wrk takes this in.
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "result %d requests %d microseconds %d refused %d broken %d p50 %d p99 %d p999\n",
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
