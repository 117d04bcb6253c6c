# The Windows twin of ./fla: fla test [FILTER], or fla COMMAND [ARGUMENTS] for the fla tool (demo, info, check, ...).
# Makes sure of the .NET SDK, glslc and a Vulkan driver, and says what to install where one is missing.
# Written for Windows PowerShell 5.1, which every Windows has. No param block: arguments like --data reach $args untouched.
Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'
$root = Split-Path -Parent $PSScriptRoot
$results = Join-Path $root 'artifacts/test-results'

function Say([string] $text) { Write-Host "fla: $text" }

function Stop-With([string] $text) {
    Say $text
    exit 1
}

function Assert-Dotnet {
    $sdks = @()
    if (Get-Command dotnet -ErrorAction SilentlyContinue) { $sdks = @(dotnet --list-sdks) }
    if (-not ($sdks -match '^[1-9][0-9]\.')) {
        Stop-With 'the .NET 10 SDK is missing: winget install Microsoft.DotNet.SDK.10, then open a new terminal'
    }
    $env:DOTNET_CLI_TELEMETRY_OPTOUT = '1'
    $env:DOTNET_NOLOGO = '1'
    $env:MSBUILDTERMINALLOGGER = 'off'
}

# The Vulkan SDK brings glslc and the validation layers.
function Assert-Glslc {
    if ($env:GLSLC) { return }
    if (Get-Command glslc -ErrorAction SilentlyContinue) { return }
    if ($env:VULKAN_SDK) {
        $glslc = Join-Path $env:VULKAN_SDK 'Bin/glslc.exe'
        if (Test-Path $glslc) {
            $env:GLSLC = $glslc
            return
        }
    }
    Stop-With 'glslc is missing: winget install KhronosGroup.VulkanSDK, then open a new terminal'
}

function Assert-Driver {
    if (Test-Path (Join-Path $env:SystemRoot 'System32/vulkan-1.dll')) { return }
    Stop-With "there is no Vulkan driver: install your GPU's newest driver (NVIDIA, AMD and Intel bring Vulkan with it)"
}

function Build([string] $project) {
    Say 'building'
    dotnet msbuild (Join-Path $root $project) -restore -p:Configuration=Release -nologo -v:quiet -warnAsMessage:NU1603 | Out-Host
    if ($LASTEXITCODE -ne 0) { Stop-With 'the build failed' }
}

# A word becomes "the full name contains"; whatever has an operator is taken as it is.
function Get-Filter([string] $text) {
    if (-not $text -or $text -match '[=~|&]') { return $text }
    return 'FullyQualifiedName~' + ($text -replace '([()])', '\$1')
}

function Invoke-TestProject([string] $name, [string] $filter) {
    $arguments = @(
        (Join-Path $root "tests/$name/bin/Release/net10.0/$name.dll"), '--nologo',
        '--logger', 'console;verbosity=minimal', '--logger', "trx;LogFileName=$name.trx", '--results-directory', $results,
        '--blame-hang-timeout', '10m', '--blame-hang-dump-type', 'none')
    if ($filter) { $arguments += @('--filter', $filter) }
    Say $name
    dotnet test @arguments | Out-Host
    return $LASTEXITCODE -eq 0
}

function Get-SkipReason($result) {
    $message = $result.SelectSingleNode("*[local-name()='Output']/*[local-name()='ErrorInfo']/*[local-name()='Message']")
    if ($message) { return $message.InnerText.Trim() }
    return 'no reason given'
}

# Runs the tests; the last line is "N passed, N failed, N skipped".
function Invoke-Tests([string] $filter) {
    if (Test-Path $results) { Remove-Item -Recurse -Force $results }
    if ($env:VULKAN_SDK -and -not $env:FLA_VALIDATION) { $env:FLA_VALIDATION = '1' }
    Build 'Fla.sln'

    $broken = @()
    $outcomes = @()
    foreach ($project in @(Get-ChildItem (Join-Path $root 'tests/*.Tests/*.csproj') | Sort-Object Name)) {
        if (-not (Invoke-TestProject $project.BaseName $filter)) { $broken += $project.BaseName }
        $trx = Join-Path $results "$($project.BaseName).trx"
        if (Test-Path $trx) {
            $document = New-Object System.Xml.XmlDocument
            $document.Load($trx)
            $outcomes += @($document.SelectNodes("//*[local-name()='UnitTestResult']"))
        }
    }

    $passed = @($outcomes | Where-Object { $_.GetAttribute('outcome') -eq 'Passed' }).Count
    $failed = @($outcomes | Where-Object { $_.GetAttribute('outcome') -eq 'Failed' }).Count
    $skipped = @($outcomes | Where-Object { $_.GetAttribute('outcome') -notin 'Passed', 'Failed' })
    foreach ($group in @($skipped | Group-Object { Get-SkipReason $_ })) {
        Write-Host "  skipped: $($group.Name) ($($group.Count))"
        foreach ($result in $group.Group) { Write-Host "    $($result.GetAttribute('testName'))" }
    }
    if ($broken.Count -gt 0) { Say "failed or broke off: $($broken -join ' ')" }
    Write-Host "$passed passed, $failed failed, $($skipped.Count) skipped"
    if ($broken.Count -gt 0 -or $failed -gt 0 -or $passed -eq 0) { exit 1 }
}

if ($args.Count -eq 0 -or $args[0] -eq 'help') {
    Write-Host @'
usage: fla test [FILTER]         runs the tests; FILTER is part of a test's full name, or a dotnet test filter
       fla demo [--data FILE]    trains a small model on the CPU or GPU, and generates text from it
       fla COMMAND [ARGUMENTS]   any other command of the fla tool; fla --help lists them
'@
    exit 0
}

Assert-Dotnet
Assert-Glslc
Assert-Driver
if ($args[0] -eq 'test') {
    $filter = ''
    if ($args.Count -gt 1) { $filter = Get-Filter $args[1] }
    Invoke-Tests $filter
}
else {
    Build 'src/Fla.Cli/Fla.Cli.csproj'
    dotnet (Join-Path $root 'src/Fla.Cli/bin/Release/net10.0/fla.dll') @args
    exit $LASTEXITCODE
}
