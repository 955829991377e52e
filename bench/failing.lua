-- Logins that fail: each with an id that nobody has, or with one that somebody has, and a wrong secret. With a pause after each, so that they stay beside the load.
wrk.method = "POST"
wrk.body = "grant_type=client_credentials"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"

local base64 = "d3Jvbmc6d3Jvbmc="
local sent = 0

function request()
  sent = sent + 1
  if sent % 2 == 0 then
    return wrk.format(nil, nil, { ["Content-Type"] = wrk.headers["Content-Type"], Authorization = "Basic " .. base64 })
  end
  local form = "grant_type=client_credentials&client_id=client-" .. sent .. "&client_secret=wrong-" .. sent
  return wrk.format(nil, nil, wrk.headers, form)
end

function delay()
  return 10
end

dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "result.lua")
