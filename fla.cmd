@echo off
rem The one entry on Windows: fla test [FILTER], or fla COMMAND [ARGUMENTS]. The work is in eng\fla.ps1.
powershell -NoProfile -ExecutionPolicy Bypass -File "%~dp0eng\fla.ps1" %*
exit /b %ERRORLEVEL%
