-- What run.sh reads of a load; each script for wrk takes this in.
function done(summary)
  local errors = summary.errors
  io.write(string.format(
    "result %d requests %d microseconds %d refused %d broken\n",
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
