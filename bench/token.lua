-- A request for a token with a secret, for one client after the other: the lines of the file that CREDENTIALS names, from line FIRST on.
-- From a file: arguments are there for every process to read.
wrk.method = "POST"
wrk.body = "grant_type=client_credentials&scope=read%20write"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"

local requests = {}
local next = tonumber(os.getenv("FIRST")) or 1

-- The header Host is known from here on.
function init()
  local name = assert(os.getenv("CREDENTIALS"), "CREDENTIALS is not set")
  for credentials in io.lines(name) do
    wrk.headers["Authorization"] = "Basic " .. credentials
    requests[#requests + 1] = wrk.format()
  end
  next = (next - 1) % #requests + 1
end

function request()
  local made = requests[next]
  next = next % #requests + 1
  return made
end

dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "result.lua")
