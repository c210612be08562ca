from manycall.cli.main import main

main()
