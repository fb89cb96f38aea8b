# Installs the Binnacle connector on this computer and enrols it. Running it again updates the connector.
#
#   $env:BINNACLE_TOKEN='TOKEN'; irm {{ address }}/install.ps1 | iex
#
# For Windows 10, Server 2016 and newer, in a PowerShell started as administrator. Nothing is done until the last line has been read.

function Install-BinnacleConnector {
    $ErrorActionPreference = 'Stop'
    $address = '{{ address|replace("'", "")|replace("‘", "")|replace("’", "")|replace("‚", "")|replace("‛", "") }}'
    $token = $env:BINNACLE_TOKEN
    $folder = if ($env:BINNACLE_PREFIX) { $env:BINNACLE_PREFIX } else { Join-Path $env:ProgramData 'BinnacleConnector' }
    $config = Join-Path $folder 'config.json'
    $state = Join-Path $folder 'state'
    $task = 'Binnacle connector'
    $env:BINNACLE_TOKEN = $null

    $me = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
    if (-not $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) { throw 'binnacle: start PowerShell as administrator and try again.' }
    if (-not $token -and -not (Test-Path $config)) { throw 'binnacle: set $env:BINNACLE_TOKEN to the token of the Add computer page.' }

    $python = $null
    foreach ($candidate in @('py', 'python', 'python3')) {
        if (-not (Get-Command $candidate -ErrorAction SilentlyContinue)) { continue }
        try { $found = & $candidate -c 'import sys, venv; print(sys.executable if sys.version_info >= (3, 9) else str())' 2>$null } catch { continue }
        if ($LASTEXITCODE -eq 0 -and $found) { $python = $found; break }
    }
    if (-not $python) { throw 'binnacle: Python 3.9 or newer is missing. To get it: winget install Python.Python.3.13' }

    Write-Host "binnacle: installing into $folder"
    New-Item -ItemType Directory -Force -Path $folder | Out-Null
    # The key lies here: for administrators and the system only (names of these groups differ by language, their SIDs do not).
    & icacls $folder /inheritance:r /grant '*S-1-5-18:(OI)(CI)F' '*S-1-5-32-544:(OI)(CI)F' | Out-Null
    if (Get-ScheduledTask -TaskName $task -ErrorAction SilentlyContinue) { Stop-ScheduledTask -TaskName $task -ErrorAction SilentlyContinue }
    $own = Join-Path $folder 'venv\Scripts\python.exe'
    if (-not (Test-Path $own)) { & $python -m venv (Join-Path $folder 'venv') }
    & $own -m pip install --quiet --disable-pip-version-check --no-input --upgrade --force-reinstall "$address/install/connector.zip"
    if ($LASTEXITCODE -ne 0) { throw 'binnacle: pip could not install the connector; its words are above.' }

    if (Test-Path $config) { Write-Host "binnacle: already enrolled: $config is kept. To enrol anew, remove it first." }
    else {
        $env:BINNACLE_TOKEN = $token
        try { & $own -m binnacle_connector enrol --server $address --config $config --state-dir $state } finally { $env:BINNACLE_TOKEN = $null }
        if ($LASTEXITCODE -ne 0) { throw 'binnacle: the server did not enrol this computer; its words are above.' }
    }

    $action = New-ScheduledTaskAction -Execute $own -Argument "-m binnacle_connector --config `"$config`" --state-dir `"$state`""
    $settings = New-ScheduledTaskSettingsSet -RestartCount 999 -RestartInterval (New-TimeSpan -Minutes 1) -ExecutionTimeLimit ([TimeSpan]::Zero) -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries
    $system = New-ScheduledTaskPrincipal -UserId 'S-1-5-18' -LogonType ServiceAccount -RunLevel Highest
    Register-ScheduledTask -TaskName $task -Action $action -Trigger (New-ScheduledTaskTrigger -AtStartup) -Settings $settings -Principal $system -Force | Out-Null
    Start-ScheduledTask -TaskName $task
    Write-Host "binnacle: done; it runs as the scheduled task '$task'. This computer is at $address/fleet/"
}

Install-BinnacleConnector
